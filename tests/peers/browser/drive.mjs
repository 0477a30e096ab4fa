// A `BROWSER` for the tests. Opens the address in this machine's Chromium, signs in on the provider's page (or presses
// "Cancel" there), and reports what a user would have seen.
//
// DRIVE_CHROMIUM   the program
// DRIVE_AUTHORITY  SHA-256 of the public key of the provider's CA, in base64
// DRIVE_REPORT     a JSON file, written at the end
// DRIVE_CANCEL     if set, presses "Cancel"
// DRIVE_NO_FORM    if set, the provider shows no form
// DRIVE_COOKIES    bytes of cookies that other programs on 127.0.0.1 have set
// DRIVE_AGAIN      if set, a second tab sends the response too, as a reload does, and is the one reported
// DRIVE_PICTURES   if set, a folder for screenshots of the last page
// DRIVE_NAME       the prefix of their names

import fs from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';

const env = process.env;
const limit = 30_000;
const wide = { width: 760, height: 480 };
const phone = { width: 360, height: 560 };
const quiet = [
  '--disable-background-networking', '--disable-component-update', '--disable-gpu', '--disable-quic', '--disable-sync',
  '--no-first-run', '--no-sandbox', `--ignore-certificate-errors-spki-list=${env.DRIVE_AUTHORITY}`,
];

const seen = { requests: [], console: [], failures: [], addresses: [] };
const browser = await chromium.launch({ executablePath: env.DRIVE_CHROMIUM, args: quiet, timeout: limit });
try {
  const context = await browser.newContext({ viewport: wide });
  context.setDefaultTimeout(limit);
  context.on('request', (request) => seen.requests.push(request.url()));
  context.on('requestfailed', (request) => seen.failures.push(`${request.url()}: ${request.failure()?.errorText}`));
  context.on('console', (message) => seen.console.push({ text: message.text(), at: message.location().url }));
  let page = await context.newPage();
  page.on('framenavigated', (frame) => seen.addresses.push(frame.url()));
  const full = 4000;
  for (let left = Number(env.DRIVE_COOKIES ?? 0); left > 0; left -= full) {
    // Only for the listener, because the test provider is on 127.0.0.1 too.
    await context.addCookies([{ name: `c${left}`, value: 'a'.repeat(Math.min(left, full)), domain: '127.0.0.1', path: '/callback' }]);
  }
  const first = page;
  if (env.DRIVE_AGAIN) {
    page = await context.newPage();
    first.on('request', (request) => {
      if (request.url().includes('/callback?')) page.goto(request.url()).catch(() => {});
    });
  }

  await first.goto(process.argv[2]);
  if (env.DRIVE_NO_FORM) {
    // The provider has already redirected the browser.
  } else if (env.DRIVE_CANCEL) {
    await page.click('button[name=deny]');
  } else {
    await page.fill('input[name=username]', 'alice');
    await page.fill('input[name=password]', 'password');
    await page.click('button[name=go]');
  }
  await first.waitForURL(/^http:\/\/127\.0\.0\.1:\d+\/done\//);
  await page.waitForURL(/^http:\/\/127\.0\.0\.1:\d+\/done\//);

  const inside = await context.newCDPSession(page);
  const history = await inside.send('Page.getNavigationHistory');
  const widths = [];
  for (const [layout, viewport] of Object.entries({ '': wide, '-narrow': phone })) {
    for (const colorScheme of ['light', 'dark']) {
      await page.setViewportSize(viewport);
      await page.emulateMedia({ colorScheme });
      widths.push(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth));
      if (env.DRIVE_PICTURES) {
        const dark = colorScheme === 'dark' ? '-dark' : '';
        await page.screenshot({ path: path.join(env.DRIVE_PICTURES, `${env.DRIVE_NAME}${layout}${dark}.png`) });
      }
    }
  }
  const look = (colorScheme) =>
    page.emulateMedia({ colorScheme }).then(() => page.evaluate(() => getComputedStyle(document.body).backgroundColor));
  Object.assign(seen, {
    url: page.url(),
    shownAddress: await page.evaluate(() => location.href),
    title: await page.title(),
    text: await page.innerText('main'),
    referrer: await page.evaluate(() => document.referrer),
    history: history.entries.map((entry) => entry.url),
    overflows: widths,
    backgrounds: [await look('light'), await look('dark')],
  });
} catch (error) {
  seen.error = String(error);
} finally {
  await browser.close();
}
fs.writeFileSync(`${env.DRIVE_REPORT}.new`, JSON.stringify(seen));
fs.renameSync(`${env.DRIVE_REPORT}.new`, env.DRIVE_REPORT);
