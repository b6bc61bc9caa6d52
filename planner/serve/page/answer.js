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
  money(document_, best);
  warnings(document_, best);
  at('rows').replaceChildren(...document_.options.map((option) => line(option, option === best)));
  charts.cost(at('cost-chart'), document_.options, best, Number(question.max_usd) || null);
  charts.memory(at('memory-chart'), document_.options, best);
  charts.time(at('time-chart'), best);
  for (const name of ['cost', 'memory', 'time']) {
    at(`s-${name}-chart`).hidden = !at(`${name}-chart`).querySelector('.bar');
  }
  at('downloads').replaceChildren(...links);
  at('assumptions').replaceChildren(...document_.assumptions.map((text) => element('li', '', text)));
  at('shown').hidden = false;
}

function headline(document_, best) {
  const asked = `${document_.model.name} on ${count(document_.dataset.samples)} samples`;
  const limits = onTopic(document_, 'limit').map((one) => one.text);
  const way = best
    ? `${strategy(best)} on ${best.gpus > 1 ? best.gpus + ' × ' : ''}${best.gpu}${best.provider ? ' at ' + best.provider : ''}`
    : limits.join('; ') || 'nothing is recommended';
  at('headline').textContent = `${asked}: ${way}`;
  at('why').textContent = best ? document_.recommended.why : '';
}

const onTopic = (document_, topic) => document_.first_lines.filter((one) => one.topic === topic);

// The short lines under the figures: how old the price is, the whole project, and the limits.
function money(document_, best) {
  const costs = (best ? [best] : document_.options).map((option) => option.cost).filter(Boolean);
  const dates = [...new Set(costs.map((cost) => cost.price_date).filter(Boolean))].sort();
  const dated = [...new Set([dates[0], dates.at(-1)])].filter(Boolean).join(' to ');
  const rate = best?.cost?.usd_per_gpu_hour ? `${usd(best.cost.usd_per_gpu_hour)} a GPU-hour` : '';
  const priced = [rate, dated ? `as of ${dated}` : best?.cost?.price_source].filter(Boolean).join(', ');
  const verdicts = best ? onTopic(document_, 'limit').map((one) => one.text) : [];
  if (best && !verdicts.length) verdicts.push('no limit is set');
  const lines = [
    ...(priced ? [['Price', priced]] : []),
    ...onTopic(document_, 'cost').map((one) => ['Project', one.text]),
    ...verdicts.map((text) => ['Budget', text]),
  ];
  at('money').replaceChildren(...lines.map(([name, text]) => {
    const item = element('li', '', `: ${text}`);
    item.prepend(element('b', '', name));
    return item;
  }));
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
  const rest = document_.first_lines.filter((one) => one.topic !== 'limit' && one.topic !== 'cost');
  const warns = rest.filter((one) => one.warning).map((one) => one.text);
  const plain = rest.filter((one) => !one.warning).map((one) => one.text);
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
