// The dashboard API's JSON. Times are RFC 3339, durations milliseconds; what
// is unknown is left out.

export type Direction = "up" | "down";
export type State = "running" | "paused" | "completed" | "failed" | "interrupted";
export type Status =
  | "applied"
  | "pending"
  | "rolled_back"
  | "covered"
  | "out_of_order"
  | "missing"
  | "ahead"
  | "running"
  | "paused"
  | "failed"
  | "interrupted";

export type Session = {
  project: string;
  env: string;
  protected: boolean;
  readOnly: boolean;
  readOnlyReason?: string;
  store: string;
  target?: string;
  user?: string;
  csrf: string;
  events: "sse" | "poll";
  /** Whether the migration files are known; without them nothing is pending. */
  knowsFiles: boolean;
  runtime: string;
  version: string;
  now: string;
};

export type Holder = {
  host?: string;
  pid?: number;
  user?: string;
  runtime?: string;
  link?: string;
  by?: string;
  reason?: string;
  text: string;
};

export type Lock = { held: boolean; holder?: Holder; token?: number; expiresAt?: string };

export type Progress = {
  done: number;
  total?: number;
  unit?: string;
  ratePerSecond?: number;
  etaSeconds?: number;
  activity?: string;
};

export type Migration = {
  id: string;
  version: string;
  name: string;
  status: Status;
  language?: "sql" | "go";
  source?: string;
  edited?: boolean;
  reversible?: boolean;
  irreversible?: string;
  statements?: number;
  kind?: string;
  foreign?: string;
  state?: State;
  direction?: Direction;
  executionId?: string;
  startedAt?: string;
  finishedAt?: string;
  durationMs?: number;
  steps?: number;
  done?: number;
  died?: boolean;
  error?: string;
  holder?: Holder;
  operator?: string;
  progress?: Progress;
};

export type Statement = {
  index: number;
  sql: string;
  pos?: string;
  sent?: string;
  changes?: string[];
  /** Unknown of a file that nothing has run. undone: it ran, and went with its transaction. */
  state?: "done" | "running" | "failed" | "pending" | "unsure" | "undone";
  /** Why the database would not take it. */
  refused?: string;
  durationMs?: number;
  startedAt?: string;
  go?: boolean;
  truncated?: boolean;
};

export type Attempt = {
  id: string;
  version: string;
  name: string;
  executionId: string;
  direction: Direction;
  state: State;
  died?: boolean;
  kind: string;
  startedAt: string;
  finishedAt?: string;
  durationMs?: number;
  description?: string;
  checksum?: string;
  steps: number;
  done: number;
  begun?: number;
  checkpoint?: unknown;
  error?: string;
  errorStep?: string;
  errorPos?: string;
  errorIndex?: number;
  holder: Holder;
  operator?: string;
  reason?: string;
  output?: string;
  outputDropped?: number;
  outputTruncated: boolean;
  outputOmitted?: boolean;
  statements?: Statement[];
  statementsFrom?: "file" | "edited";
  progress?: Progress;
};

export type Counts = {
  total: number;
  completed: number;
  failed: number;
  running: number;
  paused: number;
  interrupted: number;
};

export type Execution = {
  id: string;
  direction: Direction;
  state: State;
  died?: boolean;
  startedAt: string;
  endedAt?: string;
  durationMs?: number;
  holder: Holder;
  operator?: string;
  reason?: string;
  counts: Counts;
  first?: string;
  last?: string;
  error?: string;
  errorMigration?: string;
};

export type Run = {
  executionId: string;
  direction: Direction;
  target?: string;
  reason?: string;
  by?: string;
  state: "requested" | "waiting" | State;
  waitingFor?: Lock;
  error?: string;
  startedAt: string;
  endedAt?: string;
  planned?: number;
  completed?: number;
  migration?: string;
  progress?: Progress;
  /** Why it ended, where that has a code. */
  problem?: Problem;
};

export type Summary = {
  pending: number;
  completed: number;
  failed: number;
  total: number;
  running: number;
  paused: number;
  interrupted: number;
  rolledBack: number;
  outOfOrder: number;
  covered: number;
  edited: number;
  missing: number;
  ahead: number;
  ready: boolean;
  current: string;
  head: string;
  lock: Lock;
  active: Migration[];
  run?: Run;
  knowsFiles: boolean;
  /** Why the migration files cannot be read; the history shows all the same. */
  filesError?: string;
  now: string;
};

export type MigrationPage = { migrations: Migration[]; next: string; total: number; head: string };

export type MigrationDetail = {
  migration: Migration;
  description?: string;
  statements?: { up: Statement[]; down: Statement[] };
  attempts: Attempt[];
  next: string;
  head: string;
};

export type ExecutionPage = { executions: Execution[]; next: string };

export type ExecutionDetail = { execution: Execution; migrations: Attempt[]; next: string; run?: Run };

export type PlanItem = {
  id: string;
  version: string;
  name: string;
  direction: Direction;
  steps: number;
  resumes?: boolean;
  irreversible?: string;
  description?: string;
  language?: "sql" | "go";
  statements?: { sql: string; sent?: string; changes?: string[]; go?: boolean; truncated?: boolean }[];
};

export type Problem = {
  title: string;
  status: number;
  code: string;
  detail: string;
  hint?: string;
  login?: "link" | "token" | "none";
  head?: string;
  lock?: Lock;
  run?: Run;
  edited?: string[];
  missing?: string[];
  ahead?: string[];
  late?: string[];
  migration?: string;
  statement?: string;
  pos?: string;
  confirm?: string;
};

export type Plan = {
  direction: Direction;
  head: string;
  current: string;
  target: string;
  currentId?: string;
  targetId?: string;
  count: number;
  items: PlanItem[];
  possible: boolean;
  blocked?: Problem;
  confirm?: string;
  needsReason: boolean;
  skipped?: { id: string; reason: string }[];
};

export type StateEvent = {
  etag: string;
  head: string;
  summary: Summary;
  migrations: string[];
  executions: string[];
  many?: boolean;
  now: string;
};
