import { afterEach, describe, expect, it, vi } from 'vitest';
import { createRecentLooks } from '../../api/nodes/node-task.looks.ts';

const node = 'a node';
const other = 'another node';

afterEach(() => {
  vi.restoreAllMocks();
});

describe('what the last look for tasks says of the next', () => {
  it('knows nothing of a node that was never looked at', () => {
    expect(createRecentLooks().isQuiet(node)).toBe(false);
  });

  it('is quiet after a look that found nothing, for that node only', () => {
    const looks = createRecentLooks();
    looks.begin(node).done([]);
    expect(looks.isQuiet(node)).toBe(true);
    expect(looks.isQuiet(other)).toBe(false);
  });

  it('is not quiet before everything that was offered is reported: it may have to be offered again', () => {
    const looks = createRecentLooks();
    looks.begin(node).done(['first', 'second']);
    looks.reported(node, 'first');
    looks.reported(other, 'second');
    expect(looks.isQuiet(node)).toBe(false);
    looks.reported(node, 'second');
    expect(looks.isQuiet(node)).toBe(true);
  });

  it('is not quiet while a look is under way, nor after one that never ended', () => {
    const looks = createRecentLooks();
    looks.begin(node).done([]);
    looks.begin(node);
    expect(looks.isQuiet(node)).toBe(false);
    looks.reported(node, 'any');
    expect(looks.isQuiet(node)).toBe(false);
  });

  it.each([
    ['before a look is over, which may not have seen it', true],
    ['after it', false],
  ])('is not quiet when a wake comes %s', (_, during) => {
    const looks = createRecentLooks();
    const look = looks.begin(node);
    if (during) looks.woken(node);
    look.done([]);
    if (!during) looks.woken(node);
    expect(looks.isQuiet(node)).toBe(false);
    looks.begin(node).done([]);
    expect(looks.isQuiet(node)).toBe(true);
  });

  it('lets the last of several looks speak', () => {
    const looks = createRecentLooks();
    const [first, last] = [looks.begin(node), looks.begin(node)];
    first.done([]);
    expect(looks.isQuiet(node)).toBe(false);
    last.done([]);
    expect(looks.isQuiet(node)).toBe(true);
  });

  it('forgets everything when wakes may have been missed, looks under way included', () => {
    const looks = createRecentLooks();
    looks.begin(other).done([]);
    const look = looks.begin(node);
    looks.forgetAll();
    look.done([]);
    expect([looks.isQuiet(node), looks.isQuiet(other)]).toEqual([false, false]);
  });

  it('forgets a look after a second', () => {
    const clock = vi.spyOn(performance, 'now').mockReturnValue(0);
    const looks = createRecentLooks();
    looks.begin(node).done([]);
    clock.mockReturnValue(999);
    expect(looks.isQuiet(node)).toBe(true);
    clock.mockReturnValue(1001);
    expect(looks.isQuiet(node)).toBe(false);
  });
});
