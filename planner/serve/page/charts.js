// Bars made of boxes: no library, so that no script is made of text and the policy stays strict.
import { between, gib, hours, share, strategy, usd } from './format.js';

const MEMORY = ['weights', 'gradients', 'optimizer', 'activations', 'temporary', 'fragmentation', 'context'];

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function part(className, from, to, most, title) {
  const made = element('span', className);
  made.style.left = `${(100 * from) / most}%`;
  if (to !== null) made.style.width = `${Math.max(0, (100 * (to - from)) / most)}%`;
  if (title) made.title = title;
  return made;
}

function row(name, value, parts, best) {
  const made = element('div', best ? 'bar best' : 'bar');
  const track = element('div', 'track');
  track.setAttribute('aria-hidden', 'true');
  track.append(...parts);
  made.append(element('span', 'name', name), track, element('span', 'value', value));
  return made;
}

function key(entries) {
  const list = element('ul', 'key');
  for (const [className, text] of entries) {
    const item = element('li');
    item.append(element('i', className), document.createTextNode(text));
    list.append(item);
  }
  return list;
}

export function cost(holder, options, best, limit) {
  const priced = options.filter((option) => option.cost);
  const most = 1.02 * Math.max(limit ?? 0, ...priced.map((option) => option.cost.usd.p90));
  const rows = priced.map((option) => {
    const { p10, p50, p90 } = option.cost.usd;
    const parts = [part('range', p10, p90, most), part('dot', p50, null, most)];
    if (limit) parts.push(part('limit', limit, null, most, `budget ${usd(limit)}`));
    return row(strategy(option), usd(p50), parts, option === best);
  });
  const told = [['s6', 'from the 10th to the 90th percentile; the mark is the median']];
  if (limit) told.push(['line', `the budget, ${usd(limit)}`]);
  holder.replaceChildren(...rows, key(told));
}

export function memory(holder, options, best) {
  const known = options.filter((option) => option.memory);
  const totals = known.map((option) => option.memory.device_total_bytes);
  const most = 1.02 * Math.max(...totals, ...known.map((option) => option.memory.device_used_bytes.p90));
  const rows = known.map((option) => {
    const parts = [];
    let from = 0;
    MEMORY.forEach((name, index) => {
      const bytes = option.memory.breakdown[name] ?? 0;
      if (bytes > 0) parts.push(part(`s${index}`, from, from + bytes, most, `${name} ${gib(bytes)} GiB`));
      from += Math.max(0, bytes);
    });
    parts.push(part('limit', option.memory.device_total_bytes, null, most, 'the GPU’s memory'));
    return row(strategy(option), `${gib(option.memory.device_used_bytes.p50)} GiB`, parts, option === best);
  });
  const used = MEMORY.map((name, index) => [`s${index}`, name]);
  holder.replaceChildren(...rows, key([...used, ['line', 'the GPU’s memory']]));
}

export function time(holder, option) {
  if (!option?.run) return holder.replaceChildren();
  const phases = Object.entries(option.run.breakdown_hours).filter(([, value]) => value > 0);
  const total = phases.reduce((sum, [, value]) => sum + value, 0);
  const rows = phases.map(([name, value], index) =>
    row(name.replaceAll('_', ' '), `${hours(value)} h`, [part(`s${index % 8}`, 0, value, total, share(value / total))], false),
  );
  const wall = option.run.wall_hours;
  holder.replaceChildren(...rows, element('p', '', `${hours(wall.p50)} hours in all, ${between(hours, wall)}`));
}
