// Asking the server: one question at a time, and of those that come meanwhile the newest alone.
const LOOK_AGAIN = 700; // ms between two looks at a step that is being recorded

export class Refused extends Error {
  constructor(body, status) {
    super([body.what, body.mend].filter(Boolean).join('. '));
    this.fields = body.fields ?? [];
    this.where = body.where;
    this.status = status;
  }
}

async function body(response) {
  try {
    return await response.json();
  } catch {
    return { what: `the server answered ${response.status} without words` };
  }
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

export class Asker {
  // told(what): 'asking', 'recording', 'answered' or 'refused', with details.
  constructor(told) {
    this.told = told;
    this.next = null;
    this.busy = false;
    this.turn = 0;
  }

  ask(question) {
    this.next = question;
    this.turn += 1;
    if (!this.busy) this.run();
  }

  async run() {
    this.busy = true;
    while (this.next) {
      const question = this.next;
      this.next = null;
      await this.one(question, this.turn);
    }
    this.busy = false;
  }

  async one(question, turn) {
    const begun = performance.now();
    this.told('asking', { question });
    try {
      const document = await this.answer(question, turn, begun);
      if (document) this.told('answered', { question, document, ms: performance.now() - begun });
    } catch (error) {
      const known = error instanceof Refused;
      const text = known ? error.message : 'The server does not answer. Is planner serve still running?';
      this.told('refused', { question, text, fields: known ? error.fields : [], where: known ? error.where : null });
    }
  }

  // null where somebody asked something else meanwhile.
  async answer(question, turn, begun) {
    let response = await fetch('/api/estimate?wait=false', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(question),
    });
    while (response.status === 202) {
      const job = await response.json();
      this.told('recording', { ...job, seconds: (performance.now() - begun) / 1000 });
      await wait(LOOK_AGAIN);
      if (this.turn !== turn) return null;
      response = await fetch('/api/jobs/' + encodeURIComponent(job.job));
    }
    const found = await body(response);
    if (!response.ok) throw new Refused(found, response.status);
    return found;
  }
}

export async function names() {
  const response = await fetch('/api/names');
  return response.json();
}

export async function counted(file, model) {
  const parameters = new URLSearchParams({ name: file.name });
  if (model) parameters.set('model', model);
  const response = await fetch('/api/data?' + parameters, { method: 'POST', body: file });
  const found = await body(response);
  if (!response.ok) throw new Refused(found, response.status);
  return found;
}
