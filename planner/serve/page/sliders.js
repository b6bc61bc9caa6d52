// Sliders: each stands open (the planner chooses, and the answer says what) until it is moved.
const geometric = (low, high, steps) =>
  Array.from({ length: steps + 1 }, (_, i) => Number((low * (high / low) ** (i / steps)).toPrecision(2)));

const positions = (sliders) => ({
  epochs: [0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100],
  global_batch: sliders.global_batch,
  max_length: sliders.max_length,
  lora_rank: [4, 8, 16, 32, 64, 128, 256],
  gpus: sliders.gpus,
  price: [...new Set(geometric(0.1, 15, 60))],
});

const LABELS = {
  epochs: 'Epochs',
  global_batch: 'Samples a step (batch)',
  max_length: 'Longest sample, tokens',
  lora_rank: 'LoRA rank',
  gpus: 'GPUs',
  price: 'Price, USD a GPU-hour',
};

// What the answer says that was chosen for an open slider.
const CHOSEN = {
  epochs: (option) => option.run?.epochs,
  global_batch: (option) => option.training?.global_batch_size,
  max_length: (option) => option.training?.max_length,
  lora_rank: (option, question) => option.training?.lora?.rank ?? question?.lora_rank,
  gpus: (option) => option.gpus,
  price: (option) => option.cost?.usd_per_gpu_hour,
};

export class Sliders {
  constructor(holder, sliders, moved) {
    this.all = {};
    for (const [name, places] of Object.entries(positions(sliders))) {
      this.all[name] = this.one(holder, name, places, moved);
    }
  }

  one(holder, name, places, moved) {
    const row = document.createElement('div');
    row.className = 'slider open';
    const label = document.createElement('label');
    label.htmlFor = 's-' + name;
    label.textContent = LABELS[name];
    const output = document.createElement('output');
    output.htmlFor = 's-' + name;
    const reset = document.createElement('button');
    reset.type = 'button';
    reset.textContent = 'auto';
    reset.title = `Let the planner choose: ${LABELS[name]}`;
    reset.setAttribute('aria-label', reset.title);
    const input = document.createElement('input');
    input.type = 'range';
    input.id = 's-' + name;
    input.min = 0;
    input.max = places.length - 1;
    input.step = 1;
    const slider = { row, input, output, places, value: null };
    input.addEventListener('input', () => {
      this.put(slider, places[Number(input.value)]);
      moved();
    });
    reset.addEventListener('click', () => {
      this.put(slider, null);
      moved();
      input.focus();
    });
    row.append(label, output, reset, input);
    holder.append(row);
    return slider;
  }

  put(slider, value) {
    slider.value = value;
    slider.row.classList.toggle('open', value === null);
    if (value !== null) this.draw(slider, value, String(value));
  }

  draw(slider, value, text) {
    const far = (place) => Math.abs(Math.log(place / value));
    const nearest = slider.places.reduce((best, place) => (far(place) < far(best) ? place : best));
    slider.input.value = slider.places.indexOf(nearest);
    slider.output.textContent = text;
    slider.input.setAttribute('aria-valuetext', text);
  }

  // From a link: any value, also between the positions.
  set(question) {
    for (const [name, slider] of Object.entries(this.all)) {
      const value = Number(question[name]);
      this.put(slider, name in question && Number.isFinite(value) && value > 0 ? value : null);
    }
  }

  values() {
    const moved = Object.entries(this.all).filter(([, slider]) => slider.value !== null);
    return Object.fromEntries(moved.map(([name, slider]) => [name, slider.value]));
  }

  // Open sliders stand where the planner put them.
  show(option, question) {
    for (const [name, slider] of Object.entries(this.all)) {
      if (slider.value !== null) continue;
      const chosen = CHOSEN[name](option, question);
      if (chosen > 0) this.draw(slider, chosen, `${Number(chosen.toPrecision(4))} (${name === 'price' ? 'listed' : 'default'})`);
      else slider.output.textContent = 'not used';
    }
  }
}
