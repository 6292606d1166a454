package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// described is openapi.yaml, read and found to be a valid document.
var described = sync.OnceValues(func() (*openapi3.T, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(document)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(loader.Context)
})

// finder finds what the document says of a request.
var finder = sync.OnceValues(func() (routers.Router, error) {
	doc, err := described()
	if err != nil {
		return nil, err
	}
	return legacy.NewRouter(doc)
})

// A client sends requests to a server, and fails the test if the document says
// something else of them or of their answers.
type client struct {
	base string
	key  string // shown if not empty
}

// seen are the answers that tests of this process got: method, path, status.
var seen sync.Map

// A reply is an answer, read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request. With wrong the document need not allow the request; what it
// says of the answer counts all the same.
func (c *client) do(t testing.TB, method, path, body string, wrong bool, header ...string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if c.key != "" {
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Del(header[i])
		if header[i+1] != "" {
			r.Header.Set(header[i], header[i+1])
		}
	}
	router, err := finder()
	if err != nil {
		t.Fatal(err)
	}
	// Of a path that the document does not have it says nothing.
	asked := r.Clone(t.Context())
	asked.URL = &url.URL{Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	asked.Body = io.NopCloser(strings.NewReader(body))
	route, parameters, lost := router.FindRoute(asked)
	input := &openapi3filter.RequestValidationInput{
		Request: asked, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{MultiError: true, IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if lost == nil && !wrong {
		if err := openapi3filter.ValidateRequest(t.Context(), input); err != nil {
			t.Errorf("the document does not allow %s %s %s: %v", method, path, body, err)
		}
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if lost == nil {
		seen.Store(fmt.Sprintf("%s %s %d", route.Method, route.Path, response.StatusCode), true)
		if err := openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
			RequestValidationInput: input, Status: response.StatusCode, Header: response.Header,
			Body: io.NopCloser(bytes.NewReader(text)), Options: input.Options,
		}); err != nil {
			t.Errorf("the document says otherwise of the answer to %s %s: %d %s: %v", method, path, response.StatusCode, text, err)
		}
	}
	return reply{response.StatusCode, response.Header, text}
}

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// What the document describes is what the server does: paths, methods,
// parameters, scopes, bodies, codes.
func TestTheDocumentTellsTheRoutes(t *testing.T) {
	doc, err := described()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{}
	table := make(map[string]*route)
	for _, r := range s.routes() {
		table[r.method+" "+r.path] = r
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			name := method + " " + path
			r := table[name]
			if r == nil {
				t.Errorf("nothing does %s", name)
				continue
			}
			delete(table, name)
			checkRoute(t, name, r, append(slices.Clone(item.Parameters), op.Parameters...), op)
		}
	}
	for name := range table {
		t.Errorf("the document does not have %s", name)
	}
	var codes []string
	for _, c := range doc.Components.Schemas["Code"].Value.Enum {
		codes = append(codes, c.(string))
	}
	slices.Sort(codes)
	var known []string
	for c := range kinds {
		known = append(known, string(c))
	}
	slices.Sort(known)
	if !slices.Equal(codes, known) {
		t.Errorf("codes of the document %v\nof the server %v", codes, known)
	}
}

func checkRoute(t *testing.T, name string, r *route, parameters openapi3.Parameters, op *openapi3.Operation) {
	in := make(map[string][]string)
	for _, p := range parameters {
		in[p.Value.In] = append(in[p.Value.In], p.Value.Name)
	}
	same := func(what string, described, done []string) {
		t.Helper()
		described, done = slices.Sorted(slices.Values(described)), slices.Sorted(slices.Values(done))
		if !slices.Equal(described, done) {
			t.Errorf("%s: %s of the document %q, of the server %q", name, what, described, done)
		}
	}
	var inPath []string
	for _, m := range pathParameter.FindAllStringSubmatch(r.path, -1) {
		inPath = append(inPath, m[1])
	}
	same("path parameters", in["path"], inPath)
	same("query parameters", in["query"], r.query)
	var headers []string
	if r.repeat {
		headers = append(headers, "Idempotency-Key")
	}
	same("headers", slices.DeleteFunc(in["header"], func(h string) bool { return h == "Last-Event-ID" }), headers)
	if (op.RequestBody != nil) != r.body {
		t.Errorf("%s: it has a body: %v in the document, %v in the server", name, op.RequestBody != nil, r.body)
	}
	var scopes, wanted []string
	if op.Security != nil {
		for _, requirement := range *op.Security {
			scopes = append(scopes, requirement["key"]...)
		}
	}
	if r.scope != "" {
		wanted = append(wanted, r.scope)
	}
	same("scopes", scopes, wanted)

	// What every such route can answer.
	statuses := []int{400}
	if r.scope != "" {
		statuses = append(statuses, 401, 403, 429, 503)
	}
	if r.body {
		statuses = append(statuses, 413, 415)
	}
	if r.repeat {
		statuses = append(statuses, 409, 422)
	}
	for _, status := range statuses {
		if op.Responses.Value(strconv.Itoa(status)) == nil {
			t.Errorf("%s: the document has no answer %d", name, status)
		}
	}
}

func TestTheDocumentIsServed(t *testing.T) {
	s := &Server{metrics: newMetrics(nil)}
	s.opts.Logger = discard
	s.mux = http.NewServeMux()
	for _, r := range s.routes() {
		s.mux.Handle(r.method+" "+r.path, s.serve(r))
	}
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	c := &client{base: server.URL}
	got := c.do(t, "GET", "/v1/openapi.json", "", false)
	if got.status != 200 || !bytes.Equal(got.body, document) || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d, %.100s", got.status, got.body)
	}
	if got := c.do(t, "GET", "/v1/openapi.json?pretty=1", "", true); got.status != 400 || !strings.Contains(string(got.body), "unknown-parameter") {
		t.Errorf("%d, %s", got.status, got.body)
	}
}
