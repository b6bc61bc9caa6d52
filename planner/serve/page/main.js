import { recommended, show } from './answer.js';
import { Asker, counted, names } from './ask.js';
import { command, query, quoted, read, write } from './link.js';
import { Sliders } from './sliders.js';

const START = { model: 'Llama-3.2-1B', samples: '20000', tokens_per_sample: '200', gpu: 'h100-sxm' };
const TYPING = 350; // ms after the last key until a text is asked for
const at = (id) => document.getElementById(id);
const form = at('question');
const PLAIN = ['model', 'samples', 'tokens_per_sample', 'target_tokens_per_sample', 'length_spread',
  'gpu', 'provider', 'task', 'precision', 'max_usd', 'max_hours'];

let sliders;
let others = {}; // fields of a link that the page has no box for
let known;

function fill(select, values) {
  for (const [value, text] of values) {
    const option = document.createElement('option');
    option.value = value;
    option.textContent = text;
    select.append(option);
  }
}

function tasks() {
  return ['causal_lm', 'masked_lm', 'seq2seq_lm', 'text_classification', 'token_classification', 'question_answering',
    'image_classification', 'audio_classification', 'speech_recognition', 'contrastive'];
}

function offer() {
  fill(at('models'), known.models.map((model) => [model.name, model.quick ? 'answered at once' : '']));
  fill(at('gpu'), known.gpus.map((gpu) => [gpu.key, `${gpu.name} (${Math.round(gpu.memory_bytes / 2 ** 30)} GiB)`]));
  fill(at('provider'), known.providers.map((name) => [name, name]));
  fill(at('task'), tasks().map((name) => [name, name.replaceAll('_', ' ')]));
  fill(at('precision'), ['bf16', 'amp_bf16', 'fp16', 'amp_fp16', 'fp32', 'tf32'].map((name) => [name, name]));
  for (const name of known.strategies) {
    const label = document.createElement('label');
    const box = document.createElement('input');
    box.type = 'checkbox';
    box.name = 'strategy';
    box.value = name;
    label.append(box, name.replaceAll('_', ' '));
    at('strategies').append(label);
  }
}

function put(question) {
  for (const name of PLAIN) {
    const box = at(name);
    const value = question[name] ?? '';
    if (box.tagName === 'SELECT' && value && ![...box.options].some((one) => one.value === value)) fill(box, [[value, value]]);
    box.value = value;
  }
  for (const box of form.querySelectorAll('[name=strategy]')) box.checked = (question.strategy ?? []).includes(box.value);
  sliders.set(question);
  const shown = new Set([...PLAIN, 'strategy', ...Object.keys(sliders.all)]);
  others = Object.fromEntries(Object.entries(question).filter(([name]) => !shown.has(name)));
}

// Texts as they stand: the server says what is wrong with them.
function asked() {
  const question = { ...others };
  for (const name of PLAIN) {
    const text = at(name).value.trim();
    if (text === '') continue;
    question[name] = text;
  }
  const strategy = [...form.querySelectorAll('[name=strategy]:checked')].map((box) => box.value);
  if (strategy.length) question.strategy = strategy;
  return { ...question, ...sliders.values() };
}

function links(question) {
  return known.reports.map((suffix) => {
    const link = document.createElement('a');
    link.href = `/api/report${suffix}?${query(question)}`;
    link.textContent = suffix.slice(1).toUpperCase();
    link.setAttribute('aria-label', `Download as ${suffix.slice(1).toUpperCase()}`);
    link.download = 'budget' + suffix;
    return link;
  });
}

function fault(text, fields) {
  at('error').hidden = !text;
  at('error').textContent = text ?? '';
  for (const box of form.elements) {
    box.removeAttribute('aria-invalid');
    if (box.getAttribute('aria-describedby') === 'error') box.removeAttribute('aria-describedby');
  }
  for (const name of fields ?? []) {
    const box = at(name) ?? at('s-' + name);
    box?.setAttribute('aria-invalid', 'true');
    box?.setAttribute('aria-describedby', 'error');
  }
}

const TOLD = {
  asking: () => {
    fault(null);
    document.body.classList.add('stale');
    at('state').textContent = '';
  },
  recording: ({ what, done, total, seconds }) => {
    const share = total ? `, ${Math.round((100 * done) / total)} %` : '';
    at('state').textContent = `Not seen before: ${what}${share}, ${Math.round(seconds)} s so far. It is kept for the next time.`;
  },
  answered: ({ question, document: found, ms }) => {
    fault(null);
    document.body.classList.remove('stale');
    show(found, question, links(question));
    at('command').textContent = command(question);
    sliders.show(recommended(found) ?? found.options[0] ?? {}, found.question);
    at('state').textContent = `Answered in ${Math.round(ms)} ms`;
    document.body.dataset.answered = query(question);
  },
  refused: ({ text, fields, where }) => {
    at('state').textContent = '';
    fault(where && !fields.length ? `${where}: ${text}` : text, fields);
    document.body.dataset.answered = '';
  },
};
const asker = new Asker((what, details) => TOLD[what](details));

function ask() {
  const question = asked();
  write(question);
  asker.ask(question);
}

let timer;
function soon() {
  clearTimeout(timer);
  timer = setTimeout(ask, TYPING);
}

// A question holds no file: what of it the figures rest on.
function carried(fields, name) {
  if (!('tokens_per_sample' in fields)) return [];
  const words = command({ model: at('model').value.trim() });
  return [`Counted: mean and spread; ${words} ${quoted(name)} reads every record`];
}

async function count(file) {
  if (!file) return;
  at('counted').textContent = `Counting ${file.name} …`;
  try {
    const found = await counted(file, at('model').value.trim());
    for (const name of ['samples', 'tokens_per_sample', 'target_tokens_per_sample', 'length_spread']) {
      at(name).value = found.fields[name] ?? '';
    }
    at('counted').textContent = [...found.said, ...carried(found.fields, file.name)].join('. ') || `${file.name}: counted`;
    ask();
  } catch (error) {
    at('counted').textContent = error.message || 'The file cannot be sent.';
  }
}

function listen() {
  form.addEventListener('input', (event) => {
    if (event.target.type === 'range' || event.target.type === 'file') return;
    if (event.target.tagName === 'SELECT' || event.target.type === 'checkbox') ask();
    else soon();
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    ask();
  });
  at('file').addEventListener('change', (event) => count(event.target.files[0]));
  const drop = at('drop');
  for (const name of ['dragenter', 'dragover']) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add('over');
    });
  }
  for (const name of ['dragleave', 'drop']) drop.addEventListener(name, () => drop.classList.remove('over'));
  drop.addEventListener('drop', (event) => {
    event.preventDefault();
    count(event.dataTransfer.files[0]);
  });
  at('copy').addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      at('state').textContent = 'The link is copied.';
    } catch {
      at('state').textContent = 'The address of this page is the link.';
    }
  });
  at('theme').addEventListener('click', () => paint(document.documentElement.dataset.theme !== 'dark'));
  addEventListener('popstate', () => {
    put(read());
    asker.ask(asked());
  });
}

function paint(dark) {
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  at('theme').textContent = dark ? 'Light theme' : 'Dark theme'; // what a press brings
}

async function begin() {
  try {
    known = await names();
  } catch {
    fault('The server does not answer. Is planner serve still running?');
    return;
  }
  offer();
  sliders = new Sliders(at('sliders'), known.sliders, ask);
  const linked = read();
  put(Object.keys(linked).length ? linked : START);
  paint(matchMedia('(prefers-color-scheme: dark)').matches);
  listen();
  ask();
}

begin();
