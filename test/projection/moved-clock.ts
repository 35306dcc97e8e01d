/** Loaded before a program: moves its clock by CLOCK_MOVED_MS milliseconds. */
const movedMs = Number(process.env['CLOCK_MOVED_MS'] ?? 0);
const RealDate = Date;

class MovedDate extends RealDate {
  constructor(...given: [] | [value: number | string | Date]) {
    super(given.length === 0 ? MovedDate.now() : given[0]);
  }

  static override now(): number {
    return RealDate.now() + movedMs;
  }
}

globalThis.Date = MovedDate as DateConstructor;
