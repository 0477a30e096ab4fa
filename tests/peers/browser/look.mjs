// Looks at pages of the built site in this machine's Chromium: wide and narrow, light and dark, with a search. Serves
// the files itself, and refuses and reports every request for anything else.
//
// LOOK_CHROMIUM  the program
// LOOK_SITE      the folder of the site
// LOOK_REPORT    a JSON file, written at the end
// LOOK_PICTURES  if set, a folder for screenshots
// arguments      the pages, as paths in the site

import fs from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';

const env = process.env;
const limit = 60_000;
const origin = 'https://docs.test';
const sizes = { wide: { width: 1280, height: 800 }, narrow: { width: 390, height: 844 } };
const types = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.json': 'application/json', '.svg': 'image/svg+xml' };
const quiet = [
  '--disable-background-networking', '--disable-component-update', '--disable-gpu', '--disable-quic', '--disable-sync',
  '--no-first-run', '--no-sandbox',
];

const seen = { foreign: [], missing: [], console: [], views: [] };
const browser = await chromium.launch({ executablePath: env.LOOK_CHROMIUM, args: quiet, timeout: limit });
try {
  for (const [size, viewport] of Object.entries(sizes)) {
    for (const name of process.argv.slice(2)) {
      const context = await browser.newContext({ viewport, colorScheme: 'light' });
      context.setDefaultTimeout(limit);
      context.on('console', (message) => seen.console.push(`${message.type()}: ${message.text()} (${message.location().url})`));
      await context.route('**', serve);
      const page = await context.newPage();
      page.on('pageerror', (error) => seen.console.push(String(error)));
      await page.goto(`${origin}/${name}`);
      seen.views.push(await look(page, name, size));
      await context.close();
    }
  }
} catch (error) {
  seen.error = String(error);
} finally {
  await browser.close();
}
fs.writeFileSync(`${env.LOOK_REPORT}.new`, JSON.stringify(seen));
fs.renameSync(`${env.LOOK_REPORT}.new`, env.LOOK_REPORT);

async function serve(route) {
  const url = new URL(route.request().url());
  const file = path.join(env.LOOK_SITE, decodeURIComponent(url.pathname));
  if (url.origin !== origin) {
    seen.foreign.push(url.href);
    await route.abort();
  } else if (!fs.existsSync(file)) {
    seen.missing.push(url.pathname);
    await route.fulfill({ status: 404 });
  } else {
    await route.fulfill({ body: fs.readFileSync(file), contentType: types[path.extname(file)] ?? 'application/octet-stream' });
  }
}

async function look(page, name, size) {
  const view = { page: name, size, title: await page.title(), heading: await page.locator('article h1').evaluate((heading) => heading.firstChild.data) };
  view.overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  view.brokenPictures = await page.evaluate(() => [...document.images].filter((image) => image.complete && !image.naturalWidth).map((image) => image.src));
  view.light = await background(page);
  await picture(page, name, `${size}-light`);
  // The system's scheme first, then the button, which goes from the system's to light to dark.
  await page.emulateMedia({ colorScheme: 'dark' });
  view.dark = await background(page, view.light);
  await picture(page, name, `${size}-dark`);
  await page.emulateMedia({ colorScheme: 'light' });
  view.lightAgain = await background(page, view.dark);
  for (let left = 2; left > 0; left--) {
    await page.locator('form[data-md-component=palette] label:visible').click();
  }
  view.chosenDark = await background(page, view.light);
  view.navigation = await navigation(page, size);
  await picture(page, name, `${size}-navigation`);
  await page.reload();
  view.darkAfterReload = await background(page, view.light);
  view.found = await search(page, size);
  await picture(page, name, `${size}-search`);
  return view;
}

// The colour of the page, once it is another than `before`; the same colour if it stays.
async function background(page, before) {
  const colour = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const isNew = (before) => getComputedStyle(document.body).backgroundColor !== before;
  await page.waitForFunction(isNew, before, { timeout: 10_000 }).catch(() => {});
  return colour();
}

// The texts of the links that the reader sees in the navigation: the tabs, or the first level of the drawer.
async function navigation(page, size) {
  if (size === 'wide') {
    return (await page.locator('.md-tabs__link:visible').allInnerTexts()).map((text) => text.trim());
  }
  await page.click('header label[for=__drawer]');
  const uncovered = () => {
    const isSeen = (link) => {
      const { left, top, width, height } = link.getBoundingClientRect();
      return link.contains(document.elementFromPoint(left + width / 2, top + height / 2));
    };
    const isOpen = document.querySelector('.md-sidebar--primary').getBoundingClientRect().left === 0;
    const seen = [...document.querySelectorAll('.md-nav--primary .md-nav__link')].filter(isSeen);
    return isOpen && seen.map((link) => link.innerText.trim());
  };
  return (await page.waitForFunction(uncovered)).jsonValue();
}

async function search(page, size) {
  if (size === 'narrow') {
    await page.click('header label[for=__search]');
  }
  await page.locator('input.md-search__input').pressSequentially('root key');
  const first = page.locator('.md-search-result__item').first();
  await first.waitFor();
  return (await first.innerText()).trim();
}

async function picture(page, name, suffix) {
  if (env.LOOK_PICTURES) {
    await page.screenshot({ path: path.join(env.LOOK_PICTURES, `${name.replaceAll('/', '-')}-${suffix}.png`) });
  }
}
