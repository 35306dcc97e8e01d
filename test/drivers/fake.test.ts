import { FakeDriver } from '@caisson/runtime';
import { specFor } from './given.ts';
import { goodHost, playCommands } from './scripted.ts';
import { driverSuite } from './suite.ts';

driverSuite('fake', async () => {
  const driver = new FakeDriver(playCommands);
  return { driver, spec: (limits) => specFor(goodHost, limits), left: () => [...driver.live], [Symbol.asyncDispose]: async () => undefined };
});
