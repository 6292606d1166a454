package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// A route is one thing that the door does.
type route struct {
	method string
	path   string   // as http.ServeMux takes it: /v1/accounts/{jid}
	scope  string   // that the key must have; empty: it needs no key
	query  []string // the parameters that it knows
	body   bool     // it takes a JSON body
	repeat bool     // it takes an Idempotency-Key
	// handle answers. An error that is a *Problem is shown to the client, any
	// other is logged and shown as "internal". It must not have written
	// anything then.
	handle func(http.ResponseWriter, *http.Request, *call) error
}

// A call is what the door knows of a request that it has let in.
type call struct {
	id   string // of the request
	key  *Key   // nil if the route needs none
	body []byte // whole; nil if the route takes none

	// request names what is asked for, the same in every try of it (a UUIDv7);
	// only for routes that repeat. Again tells that there were tries that were
	// broken off, the first at began and the last at last.
	request     uuid.UUID
	again       bool
	began, last time.Time
}

// routes gives everything that the door does.
func (s *Server) routes() []*route {
	return append([]*route{
		{method: http.MethodGet, path: "/v1/openapi.json", handle: s.getOpenAPI},
		{method: http.MethodPost, path: "/v1/messages", scope: SendMessages, body: true, repeat: true, handle: s.postMessages},
		{method: http.MethodPost, path: "/v1/broadcast", scope: Broadcast, body: true, repeat: true, handle: s.postBroadcast},
		{method: http.MethodGet, path: "/v1/broadcast/{id}", scope: Broadcast, handle: s.getBroadcast},
		{method: http.MethodDelete, path: "/v1/broadcast/{id}", scope: Broadcast, handle: s.deleteBroadcast},
	}, s.readRoutes()...)
}

// Handler gives all of it.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := s.mux.Handler(r); pattern != "" {
			s.mux.ServeHTTP(w, r)
			return
		}
		s.serve(s.unmatched()).ServeHTTP(w, r)
	})
}

// unmatched answers what no route takes: the mux knows whether it is the path
// or the method.
func (s *Server) unmatched() *route {
	return &route{path: "unmatched", handle: func(w http.ResponseWriter, r *http.Request, _ *call) error {
		seen := &refusal{header: make(http.Header)}
		s.mux.ServeHTTP(seen, r)
		if seen.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", seen.header.Get("Allow"))
			return problem(MethodNotAllowed, "%s is not for this path", r.Method)
		}
		return problem(NotFound, "there is nothing at this path")
	}}
}

// A refusal takes what the mux answers by itself.
type refusal struct {
	header http.Header
	status int
}

func (r *refusal) Header() http.Header         { return r.header }
func (r *refusal) WriteHeader(status int)      { r.status = status }
func (r *refusal) Write(b []byte) (int, error) { return len(b), nil }

// serve lets a request in and has its route answer it.
func (s *Server) serve(rt *route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		c := &call{id: requestID(r)}
		out := &answer{ResponseWriter: w}
		out.Header().Set("X-Request-Id", c.id)
		out.Header().Set("X-Content-Type-Options", "nosniff")
		out.Header().Set("Cache-Control", "no-store")
		// The line is written also when a handler panics.
		defer func() { s.note(rt, c, r, out, time.Since(began)) }()
		if err := s.handle(rt, c, out, r); err != nil {
			s.fail(out, r, c, err)
		}
	})
}

func (s *Server) handle(rt *route, c *call, w http.ResponseWriter, r *http.Request) (err error) {
	if rt.scope != "" {
		if c.key, err = s.admit(w, r, rt.scope); err != nil {
			return err
		}
	}
	if rt.path != "unmatched" {
		if err := knownParameters(r, rt.query); err != nil {
			return err
		}
	}
	if rt.body {
		if c.body, err = s.readBody(w, r); err != nil {
			return err
		}
	}
	if rt.repeat {
		return s.once(rt, c, w, r)
	}
	return rt.handle(w, r, c)
}

// fail tells the client what went wrong.
func (s *Server) fail(w *answer, r *http.Request, c *call, err error) {
	if w.status != 0 {
		s.opts.Logger.Error("an answer broke off", "request", c.id, "err", err)
		return
	}
	var p *Problem
	if !errors.As(err, &p) {
		p = s.inner(r, c, err)
	}
	p.write(w, c.id)
}

// inner makes a problem of an error that is not for the client's eyes.
func (s *Server) inner(r *http.Request, c *call, err error) *Problem {
	if r.Context().Err() != nil { // the client is gone, or the server stops
		return problem(Unavailable, "the request was broken off")
	}
	s.opts.Logger.Error("request failed", "request", c.id, "err", err)
	if errors.Is(err, context.DeadlineExceeded) || isConnectionError(err) {
		return problem(Unavailable, "the server cannot reach what it keeps; try again")
	}
	return problem(Internal, "the server has a fault; its log says more under this request id")
}

// note writes the access line: no query, no header, no body.
func (s *Server) note(rt *route, c *call, r *http.Request, w *answer, took time.Duration) {
	status := w.status
	if status == 0 {
		status = http.StatusOK
	}
	key := ""
	if c.key != nil {
		key = c.key.ID
	}
	s.metrics.answered(rt.path, r.Method, status, took)
	s.opts.Logger.LogAttrs(r.Context(), slog.LevelInfo, "request", slog.String("method", r.Method), slog.String("route", rt.path),
		slog.Int("status", status), slog.Int("bytes", w.bytes), slog.Duration("took", took), slog.String("key", key), slog.String("request", c.id))
}

// An answer remembers what was answered.
type answer struct {
	http.ResponseWriter
	status int
	bytes  int
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	n, err := a.ResponseWriter.Write(b)
	a.bytes += n
	return n, err
}

// Unwrap lets http.ResponseController flush.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

var requestIDs = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// requestID gives the client's own id for its request, or a new one.
func requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); requestIDs.MatchString(id) {
		return id
	}
	return uuid.NewString()
}

// knownParameters refuses a query parameter that is not known, or is there twice.
func knownParameters(r *http.Request, known []string) error {
	query, err := parseQuery(r)
	if err != nil {
		return err
	}
	for name, values := range query {
		if !slices.Contains(known, name) {
			return problem(UnknownParameter, "this path has no parameter %s", quoted(name))
		}
		if len(values) > 1 {
			return problem(InvalidParameter, "%s is there %d times", name, len(values))
		}
	}
	return nil
}

// readBody reads a body of JSON to its end.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" || parameters["charset"] != "" && !strings.EqualFold(parameters["charset"], "utf-8") {
		return nil, problem(UnsupportedMediaType, "the body must be application/json")
	}
	if r.Header.Get("Content-Encoding") != "" {
		return nil, problem(UnsupportedMediaType, "the body must have no Content-Encoding")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(s.opts.Limits.Body)))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, problem(BodyTooLarge, "the body may have %d bytes", s.opts.Limits.Body)
	case err != nil:
		return nil, problem(MalformedJSON, "the body ends early")
	}
	return body, nil
}

// quoted gives what a client sent as part of a sentence, cut short.
func quoted(text string) string {
	if len(text) > 64 {
		text = strings.ToValidUTF8(text[:64], "") + "…"
	}
	return strconv.Quote(text)
}
