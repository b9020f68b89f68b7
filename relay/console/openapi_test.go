package console_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost-mail/gatepost/relay"
	"github.com/gatepost-mail/gatepost/relay/console"
)

// An api has the parts of openapi.json that the tests use.
type api struct {
	Paths      map[string]map[string]json.RawMessage
	Components struct{ Schemas map[string]*schema }
}

type operation struct {
	OperationID string
	Responses   map[string]struct {
		Content map[string]struct{ Schema *schema }
	}
}

type schema struct {
	Ref                  string `json:"$ref"`
	Type                 any
	Format               string
	Enum                 []any
	Required             []string
	Properties           map[string]*schema
	AdditionalProperties *bool
	Items                *schema
}

func loadAPI(t *testing.T, h http.Handler) api {
	t.Helper()
	var a api
	if err := json.Unmarshal([]byte(serve(h, "GET", "/openapi.json", nil).body), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a api) operation(t *testing.T, path, method string) operation {
	t.Helper()
	raw, ok := a.Paths[path][strings.ToLower(method)]
	if !ok {
		t.Fatalf("got no %s %s in openapi.json, want one", method, path)
	}
	var o operation
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// check returns an error if a document does not match a schema.
func (a api) check(s *schema, value any, where string) error {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return a.check(a.Components.Schemas[name], value, where)
	}
	kind := map[bool]string{true: "null"}[value == nil]
	switch value := value.(type) {
	case string:
		kind = "string"
		if _, err := time.Parse(time.RFC3339Nano, value); s.Format == "date-time" && err != nil {
			return fmt.Errorf("%s: %w", where, err)
		}
	case bool:
		kind = "boolean"
	case float64:
		kind = "integer"
		if value != math.Trunc(value) || s.Type == "number" {
			kind = "number"
		}
	case []any:
		kind = "array"
		for i, item := range value {
			if err := a.check(s.Items, item, fmt.Sprintf("%s[%d]", where, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		kind = "object"
		for _, name := range s.Required {
			if _, ok := value[name]; !ok {
				return fmt.Errorf("%s: got no member %s, want one", where, name)
			}
		}
		for name, member := range value {
			if s.Properties[name] == nil {
				return fmt.Errorf("%s: got the member %s, want only those of the schema", where, name)
			}
			if err := a.check(s.Properties[name], member, where+"."+name); err != nil {
				return err
			}
		}
	}
	if types, ok := s.Type.([]any); s.Type != kind && !(ok && slices.Contains(types, any(kind))) {
		return fmt.Errorf("%s: got %v, want %v", where, kind, s.Type)
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, value) {
		return fmt.Errorf("%s: got %v, want one of %v", where, value, s.Enum)
	}
	return nil
}

// An apiCall is a request and the status of its response.
type apiCall struct {
	method, path, body string
	status             int
	changes            []as
}

// Each line is a request and the status of its response. Together they use every
// operation of openapi.json. Every response matches the schema for its status.
func TestOpenAPI(t *testing.T) {
	f := newFixture(t)
	f.complete()
	a := loadAPI(t, f.console)
	f.sends(func(*relay.Message) error { return nil })
	u, _ := f.user(f.acme, "acme.example", "shop")
	if !f.worksFor(u, "wrong") {
		p, err := f.acme.ResetPassword(t.Context(), u.Username)
		if err != nil || !f.worksFor(u, p.Reveal()) {
			t.Fatal(err)
		}
	}
	f.some()
	const user = "/domains/{domain}/users/{username}"
	seen := make(map[string]bool)
	for _, line := range slices.Concat([]apiCall{
		{"GET", "/", "", 200, nil},
		{"GET", "/", "", 403, []as{header("Test-Tenant", "nobody")}},
		{"POST", "/", `{"name":"new.example"}`, 201, nil},
		{"POST", "/", `{"name":"new.example"}`, 409, nil},
		{"POST", "/", `{"name":"rival.example"}`, 409, nil},
		{"POST", "/", `{"name":"x"}`, 422, []as{french}},
		{"POST", "/", `{"name":`, 400, nil},
		{"POST", "/", `name`, 415, []as{header("Content-Type", "text/plain")}},
		{"POST", "/", `{"name":"` + strings.Repeat("x", 1<<17) + `"}`, 413, nil},
		{"POST", "/", `{"name":"x.example"}`, 403, []as{header("Sec-Fetch-Site", "cross-site")}},
		{"GET", "/domains/{domain}", "", 200, nil},
		{"GET", "/domains/{domain}", "", 404, []as{header("Test-Tenant", "rival")}},
		{"POST", "/domains/{domain}/add", `{"name":"WordPress"}`, 201, nil},
		{"POST", "/domains/{domain}/add", `{"name":"WordPress"}`, 201, []as{header("Idempotency-Key", "k")}},
		{"POST", "/domains/{domain}/add", `{"name":"WordPress"}`, 409, []as{header("Idempotency-Key", "k")}},
		{"POST", "/domains/{domain}/add", `{}`, 422, nil},
		{"POST", "/domains/{domain}/add", `{"name":"x"}`, 404, []as{header("Test-Tenant", "rival")}},
		{"GET", user, "", 200, nil},
		{"GET", user, "", 404, []as{header("Test-Tenant", "rival")}},
		{"GET", user + "/connection", "", 200, nil},
		{"GET", user + "/connection", "", 404, []as{header("Test-Tenant", "rival")}},
		{"POST", user + "/pause", `{"reason":"gr\u00e8ve"}`, 200, nil},
		{"POST", user + "/pause", `{"reason":"\u4f11"}`, 422, nil},
		{"POST", user + "/pause", `{}`, 404, []as{header("Test-Tenant", "rival")}},
		{"POST", user + "/resume", `{}`, 200, nil},
		{"POST", user + "/resume", `{}`, 404, []as{header("Test-Tenant", "rival")}},
		{"POST", user + "/end-overlap", `{}`, 200, nil},
		{"POST", user + "/end-overlap", `{}`, 404, []as{header("Test-Tenant", "rival")}},
		{"POST", user + "/reset", `{"overlap":true}`, 422, nil},
		{"POST", user + "/test", `{"to":"bob@example.com"}`, 201, nil},
		{"POST", user + "/test", `{"to":"bob"}`, 422, nil},
		{"POST", user + "/test", `{"to":"bob@example.com"}`, 404, []as{header("Test-Tenant", "rival")}},
		{"GET", user + "/test/{mail}", "", 404, nil}, // of another user
		{"POST", user + "/rename", `{"name":"new"}`, 200, nil},
		{"POST", user + "/rename", `{"name":""}`, 422, nil},
		{"POST", user + "/rename", `{"name":"x"}`, 404, []as{header("Test-Tenant", "rival")}},
		{"POST", user + "/reset", `{"generation":1}`, 409, nil},
		{"POST", user + "/reset", `{"generation":"2"}`, 400, nil},
		{"POST", user + "/reset", `{"generation":2}`, 200, nil},
		{"POST", user + "/reset", `{}`, 200, nil},
		{"POST", user + "/reset", `{}`, 404, []as{header("Test-Tenant", "rival")}},
		{"POST", user + "/delete", `{}`, 204, nil},
		{"POST", user + "/delete", `{}`, 404, nil},
		{"GET", "/quota", "", 200, nil},
		{"GET", "/quota", "", 403, []as{header("Test-Tenant", "nobody")}},
		{"POST", "/domains/{domain}/check", `{}`, 200, nil},
		{"POST", "/domains/{domain}/check", `{}`, 404, []as{header("Test-Tenant", "rival")}},
		{"POST", "/domains/{domain}/rotate-key", `{}`, 200, nil},
		{"POST", "/domains/{domain}/use-txt", `{}`, 200, nil},
		{"POST", "/domains/{domain}/delete", `{}`, 204, nil},
		{"POST", "/domains/{domain}/delete", `{}`, 404, nil},
	}, activityCalls, suppressionCalls, webhookCalls) {
		name := fmt.Sprintf("%s %s %d", line.method, line.path, line.status)
		path := strings.NewReplacer("{domain}", "acme.example", "{username}", u.Username, "{address}", "bob@example.net", "{webhook}", "w", "{mail}", "m3").Replace(line.path[1:])
		r := f.send(line.method, path, "application/json", strings.NewReader(line.body), append([]as{program}, line.changes...)...)
		f.want(r, line.status)
		path, _, _ = strings.Cut(line.path, "?")
		o := a.operation(t, path, line.method)
		seen[o.OperationID] = true
		described, ok := o.Responses[fmt.Sprint(line.status)]
		if !ok {
			t.Errorf("%s: got a status that openapi.json does not have, want one that it has", name)
			continue
		}
		content, ok := described.Content[r.Header().Get("Content-Type")]
		if len(described.Content) == 0 {
			if r.body != "" {
				t.Errorf("%s: got body %q, want none", name, r.body)
			}
			continue
		}
		if !ok {
			t.Errorf("%s: got Content-Type %s, want one of openapi.json", name, r.Header().Get("Content-Type"))
			continue
		}
		var document any
		if err := json.Unmarshal([]byte(r.body), &document); err != nil {
			t.Fatal(err)
		}
		if err := a.check(content.Schema, document, "answer"); err != nil {
			t.Errorf("%s: %v:\n%s", name, err, r.body)
		}
	}
	for path, methods := range a.Paths {
		for method := range methods {
			if method == "parameters" {
				continue
			}
			if id := a.operation(t, path, method).OperationID; !seen[id] {
				t.Errorf("got no request for %s in this test, want one", id)
			}
		}
	}
}

// A problem names the member of the request that is wrong.
func TestProblemField(t *testing.T) {
	f := newFixture(t)
	f.domain(f.acme, "mine.example")
	for _, test := range []struct{ path, body, key, field string }{
		{"", `{"name":"x"}`, "", "name"},
		{"", `{}`, "", "name"},
		{"", `{"name":"mine.example"}`, "", "name"},
		{"", `{"name":"rival.example"}`, "", "name"},
		{addPath, `{"name":""}`, "k", "name"},
		{addPath, `{"name":"shop"}`, strings.Repeat("k", 256), "key"},
	} {
		_, problem := f.call(test.path, test.body, header("Idempotency-Key", test.key))
		if problem["field"] != test.field {
			t.Errorf("%s: got field %v, want %s", test.body, problem["field"], test.field)
		}
	}
}

// openapi.json describes exactly the JSON requests that the handler accepts.
func TestOpenAPIHasEveryRoute(t *testing.T) {
	f := newFixture(t)
	f.complete()
	a := loadAPI(t, f.console)
	for _, path := range console.RoutePaths(f.console) {
		if strings.HasSuffix(path, ".csv") {
			continue // a file, which is not JSON
		}
		r := f.send("PROPFIND", strings.NewReplacer("{domain}", "acme.example", "{username}", "x").Replace(path[1:]), "", nil, program)
		f.want(r, http.StatusMethodNotAllowed, `"code":"method"`)
		for _, method := range []string{"GET", "POST"} {
			_, described := a.Paths[path][strings.ToLower(method)]
			if allowed := strings.Contains(r.Header().Get("Allow"), method); allowed != described {
				t.Errorf("%s %s: got described %v, want %v, as the handler allows", method, path, described, allowed)
			}
		}
		delete(a.Paths, path)
	}
	if len(a.Paths) > 0 {
		t.Errorf("got the paths %v in openapi.json, want only those of the handler", a.Paths)
	}
	r := f.get("openapi.json")
	f.want(r, 200, `"openapi": "3.1.0"`)
}

// A request that deletes, ends or selects something refuses a member that it does not
// have, and names it. openapi.json says which do.
func TestUnknownMember(t *testing.T) {
	f := newFixture(t)
	f.complete()
	d := newDesk(t)
	for _, path := range console.RoutePaths(f.console) {
		f.strict(loadAPI(t, f.console), path, func(body string) response {
			return f.send("POST", path[1:], "application/json", strings.NewReader(body), program)
		})
	}
	for _, path := range []string{"/change", "/pause", "/resume"} {
		f.strict(loadAPI(t, d.op), path, func(body string) response { return d.post(path[1:], body) })
	}
}

// strict checks a POST to a path.
func (f *fixture) strict(a api, path string, post func(body string) response) {
	f.Helper()
	if a.Paths[path]["post"] == nil {
		return
	}
	var o struct {
		RequestBody *struct {
			Content map[string]struct{ Schema *schema }
		}
		Responses map[string]struct{ Description string }
	}
	if err := json.Unmarshal(a.Paths[path]["post"], &o); err != nil {
		f.Fatal(err)
	}
	last := path[strings.LastIndex(path, "/")+1:]
	want := !slices.Contains([]string{"", "suppressions", "add", "rename", "test", "check", "on", "off"}, last) && path != "/webhooks/{webhook}/change"
	if o.RequestBody != nil {
		allowed := o.RequestBody.Content["application/json"].Schema.AdditionalProperties
		if got := allowed != nil && !*allowed; got != want {
			f.Errorf("POST %s: additionalProperties is false: got %v, want %v", path, got, want)
		}
	}
	if got := strings.Contains(o.Responses["400"].Description, "unknown-member"); got != want {
		f.Errorf("POST %s: openapi.json has the problem unknown-member: got %v, want %v", path, got, want)
	}
	r := post(`{"recipients":"a@example.com"}`)
	if got := r.Code == 400 && strings.Contains(r.body, `"code":"unknown-member"`) && strings.Contains(r.body, `"field":"recipients"`); got != want {
		f.Errorf("POST %s: got status %d and %s, want unknown-member: %v", path, r.Code, r.body, want)
	}
}

// Names of states, kinds and actions are in kebab case. The types of webhook events are
// those of their own payload.
func TestOpenAPINames(t *testing.T) {
	f := newFixture(t)
	f.complete()
	for _, h := range []http.Handler{f.console, newDesk(t).op} {
		for _, list := range regexp.MustCompile(`"enum": \[[^\]]*\]`).FindAllString(serve(h, "GET", "/openapi.json", nil).body, -1) {
			for _, name := range regexp.MustCompile(`"([^"]+)"[,\s]`).FindAllStringSubmatch(list, -1) {
				if strings.ContainsAny(name[1], "_ ") && !strings.Contains(name[1], "message.") {
					t.Errorf("got the name %q, want one in kebab case", name[1])
				}
			}
		}
	}
}

// openapi.json has no schema that it does not use.
func TestOpenAPIHasNoUnusedSchema(t *testing.T) {
	f := newFixture(t)
	f.complete()
	for _, h := range []http.Handler{f.console, newDesk(t).op} {
		raw := serve(h, "GET", "/openapi.json", nil).body
		for name := range loadAPI(t, h).Components.Schemas {
			if !strings.Contains(raw, `"#/components/schemas/`+name+`"`) {
				t.Errorf("got the schema %s, to which nothing refers", name)
			}
		}
	}
}
