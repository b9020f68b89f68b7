// @ts-check
// Uses the JSON of activity and statistics through a client that is generated from
// openapi.json. The argument is the address of the console.
import createClient from "openapi-fetch";

/** @type {ReturnType<typeof createClient<import("./schema.d.ts").paths>>} */
const client = createClient({ baseUrl: /** @type {any} */ (globalThis).process.argv[2] });

/** @param {unknown} got @param {unknown} want @param {string} what */
function equal(got, want, what) {
  if (got !== want) throw new Error(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

let after = undefined, waiting = 0;
do {
  /** @type {{ data?: import("./schema.d.ts").components["schemas"]["Activities"] }} */
  const page = await client.GET("/activity", { params: { query: { state: "waiting", limit: 1, after } } });
  waiting += page.data?.activities.length ?? 0;
  after = page.data?.next ?? undefined;
} while (after);
equal(waiting, 3, "listActivities of what waits, over pages of one");
const wrong = await client.GET("/activity", { params: { query: { after: "nothing" } } });
equal(wrong.error?.field, "after", "listActivities after nothing");
const refused = await client.GET("/activity", { params: { query: { state: "rejected", search: "other.example" } } });
equal(refused.data?.activities[0].advice_code, "advice.sender-domain", "the advice about a refusal");

const path = { mail: "p5" };
const message = await client.GET("/activity/{mail}", { params: { path } });
equal(message.data?.recipients[1].events.at(-1)?.reply?.code, 451, "getMessage, the reply to the second recipient");
const retried = await client.POST("/activity/{mail}/retry", { params: { path }, body: { recipient: "finn@example.net" } });
equal(retried.data?.changed, 0, "retryMessage of what is not in the queue");
const canceled = await client.POST("/activity/{mail}/cancel", { params: { path } });
equal(canceled.data?.busy, 0, "cancelMessage");
const none = await client.GET("/activity/{mail}", { params: { path: { mail: "nothing" } } });
equal(none.error?.code, "not-found", "getMessage of none");

const statistics = await client.GET("/statistics", { params: { query: { period: "30" } } });
equal(statistics.data?.steps.length, 30, "getStatistics, the days");
equal(statistics.data?.domains.length, 2, "getStatistics, the domains");
