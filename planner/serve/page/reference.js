// The API in words, made from its own description.
function element(name, text) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  return made;
}

function kind(schema) {
  if (schema.enum) return schema.enum.join(', ');
  if (schema.const) return schema.const;
  if (schema.anyOf) return schema.anyOf.map(kind).filter((one) => one !== 'null').join(' or ');
  if (schema.type === 'array') return `list of ${kind(schema.items ?? {})}`;
  return schema.type ?? '';
}

function fields(schema) {
  const holder = element('div');
  holder.className = 'scroll';
  holder.tabIndex = 0;
  holder.setAttribute('role', 'region');
  holder.setAttribute('aria-label', 'Fields of a question');
  const table = element('table');
  const head = table.createTHead().insertRow();
  for (const name of ['Field', 'What it is', 'Allowed']) {
    const cell = element('th', name);
    cell.scope = 'col';
    head.append(cell);
  }
  const rows = table.createTBody();
  for (const [name, field] of Object.entries(schema.properties)) {
    const row = rows.insertRow();
    row.append(element('td', name), element('td', field.description), element('td', kind(field)));
    for (const cell of row.cells) cell.className = 'text';
  }
  holder.append(table);
  return holder;
}

const found = await (await fetch('/api/openapi.json')).json();
const holder = document.getElementById('paths');
for (const [path, methods] of Object.entries(found.paths)) {
  for (const [method, what] of Object.entries(methods)) {
    holder.append(element('h2', `${method.toUpperCase()} ${path}`), element('p', `${what.summary}. ${what.description ?? ''}`));
  }
}
holder.append(element('h2', 'The fields of a question'), fields(found.paths['/api/estimate'].post.requestBody.content['application/json'].schema));
