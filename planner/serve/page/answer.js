// The document as words, figures, a table and charts. Text only ever enters as text.
import * as charts from './charts.js';
import { between, count, gib, hours, strategy, usd } from './format.js';

const at = (id) => document.getElementById(id);

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function recommended(document_) {
  const wanted = document_.recommended;
  if (!wanted) return null;
  const same = (option) => option.strategy === wanted.strategy && (option.variant ?? null) === wanted.variant;
  return document_.options.find(same) ?? null;
}

export function show(document_, question, links) {
  const best = recommended(document_);
  headline(document_, best);
  figures(best);
  at('why').textContent = document_.recommended?.why ?? '';
  warnings(document_, best);
  at('rows').replaceChildren(...document_.options.map((option) => line(option, option === best)));
  charts.cost(at('cost-chart'), document_.options, best, Number(question.max_usd) || null);
  charts.memory(at('memory-chart'), document_.options, best);
  charts.time(at('time-chart'), best);
  at('downloads').replaceChildren(...links);
  at('assumptions').replaceChildren(...document_.assumptions.map((text) => element('li', '', text)));
  at('shown').hidden = false;
}

function headline(document_, best) {
  const asked = `${document_.model.name} on ${count(document_.dataset.samples)} samples`;
  const way = best
    ? `${strategy(best)} on ${best.gpus > 1 ? best.gpus + ' × ' : ''}${best.gpu}${best.provider ? ' at ' + best.provider : ''}`
    : 'nothing keeps the limits';
  at('headline').textContent = `${asked}: ${way}`;
}

function figures(best) {
  const made = [];
  const put = (name, big, range) => {
    const box = element('div');
    const value = element('dd');
    value.append(element('span', 'big', big), document.createElement('br'), element('span', 'range', range));
    box.append(element('dt', '', name), value);
    made.push(box);
  };
  if (best?.cost) put('Cost of the run', usd(best.cost.usd.p50), between(usd, best.cost.usd));
  if (best?.run) put('Hours', hours(best.run.wall_hours.p50), between(hours, best.run.wall_hours));
  if (best?.run) put('GPU-hours', hours(best.run.gpu_hours.p50), between(hours, best.run.gpu_hours));
  if (best?.memory) {
    const total = gib(best.memory.device_total_bytes);
    put('GPU memory, GiB', gib(best.memory.device_used_bytes.p50), `${between(gib, best.memory.device_used_bytes)} of ${total}`);
  }
  at('figures').replaceChildren(...made);
  const brief = best?.cost ? `${strategy(best)}: ${usd(best.cost.usd.p50)}, ${hours(best.run.wall_hours.p50)} h` : '';
  at('brief').textContent = brief;
}

function warnings(document_, best) {
  const warns = document_.first_lines.filter((one) => one.warning).map((one) => one.text);
  const plain = document_.first_lines.filter((one) => !one.warning).map((one) => one.text);
  const listed = (texts, className) => texts.map((text) => element('li', className, text));
  at('warnings').replaceChildren(...listed([...warns, ...(best?.warnings ?? [])], 'warning'));
  at('understood').replaceChildren(...listed(plain, ''));
}

function cell(main, range) {
  const made = element('td', '', main);
  if (range) made.append(element('small', '', range));
  return made;
}

function line(option, best) {
  const row = element('tr', best ? 'best' : '');
  const name = element('th', '', strategy(option) + (best ? ' ✓' : ''));
  name.scope = 'row';
  if (best) name.append(element('small', '', ' recommended'));
  const verdict = option.memory?.verdict ?? (option.fits ? 'fits' : 'unknown');
  const kind = verdict === 'fits' ? 'yes' : verdict === 'tight' ? 'tight' : 'no';
  const step = option.step;
  row.append(
    name,
    option.cost ? cell(usd(option.cost.usd.p50), between(usd, option.cost.usd)) : cell('–'),
    option.run ? cell(hours(option.run.wall_hours.p50), between(hours, option.run.wall_hours)) : cell('–'),
    option.run ? cell(hours(option.run.gpu_hours.p50), between(hours, option.run.gpu_hours)) : cell('–'),
    option.memory ? cell(gib(option.memory.device_used_bytes.p50), between(gib, option.memory.device_used_bytes)) : cell('–'),
    element('td', kind, verdict),
    step ? cell(`${step.micro_batch_size} × ${step.gradient_accumulation}`) : cell('–'),
  );
  return row;
}
