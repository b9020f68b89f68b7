// @ts-check
// Uses the console's JSON for webhooks and the suppression list through a client that is
// generated from openapi.json. The argument is the address of the console.
import createClient from "openapi-fetch";

/** @type {ReturnType<typeof createClient<import("./schema.d.ts").paths>>} */
const client = createClient({ baseUrl: /** @type {any} */ (globalThis).process.argv[2] });

/** @param {unknown} got @param {unknown} want @param {string} what */
function equal(got, want, what) {
  if (got !== want) throw new Error(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

const params = { header: { "Idempotency-Key": "a random key" } };
const body = { url: "https://crm.example/mail", types: ["message.*"] };
const added = await client.POST("/webhooks/add", { params, body });
equal(added.data?.secret.slice(0, 6), "whsec_", "addWebhook");
const again = await client.POST("/webhooks/add", { params, body });
equal(again.error?.code, "webhook-added-before", "addWebhook again");
const list = await client.GET("/webhooks");
equal(list.data?.webhooks.length, 1, "listWebhooks");

const path = { webhook: added.data?.webhook.id ?? "" };
const changed = await client.POST("/webhooks/{webhook}/change", { params: { path }, body: { types: [] } });
equal(changed.data?.url, body.url, "changeWebhook without a url");
const rotated = await client.POST("/webhooks/{webhook}/rotate", { params: { path }, body: { secret_set: added.data?.webhook.secret_set } });
equal(rotated.data?.webhook.old_secret_until === null, false, "rotateWebhookSecret");
const conflict = await client.POST("/webhooks/{webhook}/rotate", { params: { path }, body: { secret_set: added.data?.webhook.secret_set } });
equal(conflict.error?.code, "rotated-before", "rotateWebhookSecret again");
const off = await client.POST("/webhooks/{webhook}/off", { params: { path }, body: { reason: "we move" } });
equal(off.data?.state, "off", "switchWebhookOff");
const page = await client.GET("/webhooks/{webhook}", { params: { path } });
equal(page.data?.requests.length, 0, "getWebhook");
const deleted = await client.POST("/webhooks/{webhook}/delete", { params: { path } });
equal(deleted.response.status, 204, "deleteWebhook");

const address = { address: "bob@example.net" };
const entered = await client.POST("/suppressions", { body: { address: "Bob@Example.net", reason: "asked us to" } });
equal(entered.data?.address, address.address, "addSuppression");
const found = await client.GET("/suppressions", { params: { query: { source: "person", search: "bob" } } });
equal(found.data?.suppressions[0].reason, "asked us to", "listSuppressions");
const removed = await client.POST("/suppressions/{address}/remove", { params: { path: address } });
equal(removed.response.status, 204, "removeSuppression");
const gone = await client.GET("/suppressions/{address}", { params: { path: address } });
equal(gone.error?.code, "not-suppressed", "getSuppression");
