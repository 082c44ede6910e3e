import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { codeFolders, filesBelow, root, runTool, sourceFiles } from './tree.ts';

const read = (file: string): string => readFileSync(path.join(root, file), 'utf8');
const documents = (): readonly string[] => [
  'README.md',
  ...codeFolders.flatMap((folder) => filesBelow(folder, /\.md$/)),
];

/** Work that is announced instead of done, and code that only pretends. */
const banned = /\b(TODO|FIXME|XXX|HACK|WIP|TBD|[Ll]orem ipsum|[Nn]ot (yet )?implemented|[Ii]mplement me)\b/;
/** Ways around the checks; a test may prove that the types refuse something, and says what. */
const cheats = /@ts-(ignore|nocheck)|@ts-expect-error(?! \w)|as unknown as any|eslint-disable|oxlint-disable/;
const typeTest = /@ts-expect-error/;
/** Amounts are integers in minor units: bigint in the database, and never a fraction. */
const moneyAsFloat = /parseFloat\(.*[mM]inor|[mM]inor\w*\s*[*/]\s*\d*\.\d|[mM]inor.*\.toFixed\(/;

/** Lines of the files that match, as `file:line: text`. */
function linesWith(files: readonly string[], pattern: RegExp): readonly string[] {
  return files.flatMap((file) =>
    read(file)
      .split('\n')
      .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
  );
}

describe('names', () => {
  it('of files are kebab-case, with suffixes after dots', () => {
    const good = /\/[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*\.ts$/;
    expect(sourceFiles().filter((file) => !good.test(file))).toEqual([]);
  });

  it('of quantities end with their unit', () => {
    const unitless =
      /^\s*(?:export )?(?:const|readonly)?\s*\w*(?:[tT]imeout|[dD]elay|[iI]nterval|[dD]eadline)\??\s*(?::\s*number|=\s*\d)/;
    const product = sourceFiles().filter((file) => !file.startsWith('test/'));
    expect(linesWith(product, unitless)).toEqual([]);
  });
});

describe('words', () => {
  const self = 'test/tidy/names.test.ts';

  it('announce nothing that is not there', () => {
    const files = [...sourceFiles(), ...documents().filter((file) => existsSync(path.join(root, file)))];
    expect(
      linesWith(
        files.filter((file) => file !== self),
        banned,
      ),
    ).toEqual([]);
  });

  it('go around no check', () => {
    const files = sourceFiles().filter((file) => file !== self && !file.startsWith('test/tidy/lint.test'));
    expect(linesWith(files, cheats)).toEqual([]);
    expect(
      linesWith(
        files.filter((file) => !file.startsWith('test/')),
        typeTest,
      ),
    ).toEqual([]);
  });

  it('make no fraction of money', () => {
    expect(
      linesWith(
        sourceFiles().filter((file) => file !== self),
        moneyAsFloat,
      ),
    ).toEqual([]);
  });
});

describe('folders', () => {
  it.each([...codeFolders, 'workers/local', 'workers/relay', 'workers/node-agent'])(
    '%s says what lives there',
    (folder) => {
      expect(existsSync(path.join(root, folder, 'README.md'))).toBe(true);
    },
  );

  it.each(['contracts', 'workflows', 'activities', 'api', 'db', 'test'])(
    '%s has a checklist for adding to it',
    (folder) => {
      expect(read(`${folder}/README.md`)).toMatch(/^## A new /m);
    },
  );

  it('has links between documents that lead somewhere', () => {
    const broken = documents()
      .filter((file) => existsSync(path.join(root, file)))
      .flatMap((file) =>
        [...read(file).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)]
          .map((match) => path.join(path.dirname(file), match[1] ?? ''))
          .filter((target) => !existsSync(path.join(root, target)))
          .map((target) => `${file} -> ${target}`),
      );
    expect(broken).toEqual([]);
  });

  it('cites decisions that exist', () => {
    const known = new Set(
      filesBelow('contracts/decisions', /\.md$/).map((file) => path.basename(file).slice(0, 4)),
    );
    const cited = linesWith(
      [...sourceFiles(), ...documents().filter((file) => existsSync(path.join(root, file)))],
      /\bD-\d{4}\b/,
    );
    const missing = cited.filter((line) =>
      [...line.matchAll(/\bD-(\d{4})\b/g)].some((match) => !known.has(match[1] ?? '')),
    );
    expect(missing.filter((line) => !line.startsWith(self))).toEqual([]);
  });

  const self = 'test/tidy/names.test.ts';
});

const packageSchema = z.object({ scripts: z.record(z.string(), z.string()) });
const treeSchema: z.ZodType<Tree> = z.lazy(() =>
  z.object({ version: z.string().optional(), dependencies: z.record(z.string(), treeSchema).optional() }),
);
interface Tree {
  version?: string | undefined;
  dependencies?: Record<string, Tree> | undefined;
}

describe('package.json', () => {
  const { scripts } = packageSchema.parse(JSON.parse(read('package.json')));

  it.each(Object.entries(scripts))('script %s has its entry file', (_, command) => {
    const entry =
      / ([a-z/-]+\.(?:ts|mjs))/.exec(command.replace('workers/local/bootstrap.mjs ', ''))?.[1] ?? '';
    expect(existsSync(path.join(root, entry)), entry).toBe(true);
  });

  it('gives every Temporal package one protobufjs 8: with two, a replay from JSON fails', async () => {
    const npm =
      process.env['npm_execpath'] ??
      path.join(path.dirname(process.execPath), '../lib/node_modules/npm/bin/npm-cli.js');
    const run = await runTool(path.relative(root, npm), ['ls', 'protobufjs', '--json', '--all'], {
      cwd: root,
    });
    const found: [string, string][] = [];
    const walk = (name: string, tree: Tree): void => {
      for (const [child, below] of Object.entries(tree.dependencies ?? {})) {
        if (child === 'protobufjs') found.push([name, below.version ?? '']);
        walk(child, below);
      }
    };
    walk('gpuaas', treeSchema.parse(JSON.parse(run.stdout)));
    const ours = found.filter(([name]) => name === 'gpuaas' || name.startsWith('@temporalio/'));
    expect(ours.length).toBeGreaterThan(2);
    expect(new Set(ours.map(([, version]) => version)).size).toBe(1);
    expect(ours[0]?.[1]).toMatch(/^8\./);
  });
});
