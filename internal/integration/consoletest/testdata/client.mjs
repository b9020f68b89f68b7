// @ts-check
// Uses the console's JSON through a client that is generated from openapi.json.
// The argument is the address of the console.
import createClient from "openapi-fetch";

/** @type {ReturnType<typeof createClient<import("./schema.d.ts").paths>>} */
const client = createClient({ baseUrl: /** @type {any} */ (globalThis).process.argv[2] });

/** @param {unknown} got @param {unknown} want @param {string} what */
function equal(got, want, what) {
  if (got !== want) throw new Error(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
}

const domain = "client.example";
const made = await client.POST("/", { body: { name: domain } });
equal(made.data?.name, domain, "addDomain");
const domains = await client.GET("/", { params: { query: { search: "client", limit: 1000 } } });
equal(domains.data?.domains.length, 1, "listDomains");
const tooMany = await client.GET("/", { params: { query: { limit: 1001 } } });
equal(tooMany.error?.field, "limit", "listDomains with a limit over the maximum");

const params = { path: { domain }, header: { "Idempotency-Key": "a random key" } };
const added = await client.POST("/domains/{domain}/add", { params, body: { name: "shop" } });
equal(added.response.status, 201, "addUser");
const again = await client.POST("/domains/{domain}/add", { params, body: { name: "shop" } });
equal(again.error?.code, "added-before", "addUser again");
const username = again.error?.user?.username ?? "";
equal(username, added.data?.user.username, "addUser again, the user");

const path = { domain, username };
const reset = await client.POST("/domains/{domain}/users/{username}/reset", { params: { path } });
equal(reset.data?.password.length, added.data?.password.length, "resetPassword without a body");
const conflict = await client.POST("/domains/{domain}/users/{username}/reset", { params: { path }, body: { generation: 1 } });
equal(conflict.error?.code, "reset-before", "resetPassword with an old generation");
const renamed = await client.POST("/domains/{domain}/users/{username}/rename", { params: { path }, body: { name: "blog" } });
equal(renamed.data?.name, "blog", "renameUser");
const user = await client.GET("/domains/{domain}/users/{username}", { params: { path } });
equal(user.data?.server.ports[0].encryption, "tls", "getUser");
const users = await client.GET("/domains/{domain}", { params: { path: { domain } } });
equal(users.data?.users[0].name, "blog", "listUsers");
const deleted = await client.POST("/domains/{domain}/users/{username}/delete", { params: { path } });
equal(deleted.response.status, 204, "deleteUser");
const ended = await client.POST("/domains/{domain}/delete", { params: { path: { domain } } });
equal(ended.response.status, 204, "deleteDomain");
const gone = await client.GET("/domains/{domain}", { params: { path: { domain } } });
equal(gone.error?.type.split("#")[1], "not-found", "listUsers of a deleted domain");
