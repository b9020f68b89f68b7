// @ts-check
// Uses the JSON of the pages for operators through a client that is generated from
// their openapi.json. The argument is the address of the pages.
import createClient from "openapi-fetch";

/** @type {ReturnType<typeof createClient<import("./schema.d.ts").paths>>} */
const client = createClient({ baseUrl: /** @type {any} */ (globalThis).process.argv[2] });

/** @param {unknown} got @param {unknown} want @param {string} what */
function equal(got, want, what) {
  if (got !== want) throw new Error(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

const overview = await client.GET("/");
equal(overview.data?.deliveries, 2, "getOverview");
equal(overview.data?.nodes[0], "relay1", "getOverview, the nodes");
const lanes = await client.GET("/queue", { params: { query: { by: "tenant" } } });
equal(lanes.data?.groups[0].deliveries, 2, "listQueue");

const first = await client.GET("/deliveries", { params: { query: { limit: 1 } } });
equal(first.data?.deliveries.length, 1, "listDeliveries");
const rest = await client.GET("/deliveries", { params: { query: { after: first.data?.next ?? "" } } });
equal(rest.data?.next, null, "listDeliveries, the last page");
const one = first.data?.deliveries[0];
const message = await client.GET("/messages/{message}", { params: { path: { message: one?.message ?? "" } } });
equal(message.data?.waiting[0].key, one?.key, "getMessage");
const found = await client.GET("/search", { params: { query: { search: one?.username } } });
equal(found.data?.users[0].tenant, one?.tenant, "find");

const paused = await client.POST("/pause", { body: { tenant: one?.tenant, reason: "a test" } });
equal(paused.response.status, 204, "pause");
const resumed = await client.POST("/resume", { body: { tenant: one?.tenant } });
equal(resumed.response.status, 204, "resume");
const again = await client.POST("/resume", { body: { tenant: one?.tenant } });
equal(again.error?.code, "not-suspended", "resume again");

const held = await client.POST("/change", { body: { do: "hold", delivery: one?.key } });
equal(held.data?.done, 1, "changeDeliveries");
const nothing = await client.POST("/change", { body: { do: "cancel" } });
equal(nothing.error?.field, "all", "changeDeliveries without a selection");
const canceled = await client.POST("/change", { body: { do: "cancel", all: true } });
equal(canceled.data?.done, 2, "changeDeliveries of all");
