package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/jackc/pgx/v5/pgconn"
)

// A Code names what went wrong, for programs. Codes are never renamed.
type Code string

// The codes of problems.
const (
	MalformedJSON        Code = "malformed-json"
	UnknownField         Code = "unknown-field"
	InvalidField         Code = "invalid-field"
	UnknownParameter     Code = "unknown-parameter"
	InvalidParameter     Code = "invalid-parameter"
	BadIdempotencyKey    Code = "bad-idempotency-key"
	NoKey                Code = "no-key"
	BadKey               Code = "bad-key"
	RevokedKey           Code = "revoked-key"
	MissingScope         Code = "missing-scope"
	SenderNotAllowed     Code = "sender-not-allowed"
	DomainNotAllowed     Code = "domain-not-allowed"
	NotFound             Code = "not-found"
	MethodNotAllowed     Code = "method-not-allowed"
	IdempotencyConflict  Code = "idempotency-in-progress"
	PositionTooOld       Code = "position-too-old"
	BodyTooLarge         Code = "body-too-large"
	UnsupportedMediaType Code = "unsupported-media-type"
	IdempotencyReused    Code = "idempotency-key-reused"
	BadJID               Code = "bad-jid"
	UnknownDomain        Code = "unknown-domain"
	UnknownAccount       Code = "unknown-account"
	RepeatedRecipient    Code = "repeated-recipient"
	TooManyRecipients    Code = "too-many-recipients"
	NoRecipient          Code = "no-recipient"
	EmptyMessage         Code = "empty-message"
	BadPayload           Code = "bad-payload"
	RateLimited          Code = "rate-limited"
	TooManyStreams       Code = "too-many-streams"
	SlowReader           Code = "slow-reader"
	Internal             Code = "internal"
	Behind               Code = "behind"
	LogUnavailable       Code = "log-unavailable"
	Unavailable          Code = "unavailable"
)

// kinds tells of each code its status and its title.
var kinds = map[Code]struct {
	status int
	title  string
}{
	MalformedJSON:        {400, "The body is not JSON"},
	UnknownField:         {400, "The body has a field that is not known"},
	InvalidField:         {400, "A field has a value that it may not have"},
	UnknownParameter:     {400, "The query has a parameter that is not known"},
	InvalidParameter:     {400, "A parameter has a value that it may not have"},
	BadIdempotencyKey:    {400, "The Idempotency-Key cannot be read"},
	NoKey:                {401, "There is no API key"},
	BadKey:               {401, "The API key is not known"},
	RevokedKey:           {401, "The API key is revoked"},
	MissingScope:         {403, "The API key has not the scope that this needs"},
	SenderNotAllowed:     {403, "The API key may not send as this"},
	DomainNotAllowed:     {403, "The API key is for another domain"},
	NotFound:             {404, "There is no such thing"},
	MethodNotAllowed:     {405, "This path has no such method"},
	IdempotencyConflict:  {409, "A request with this Idempotency-Key is not answered yet"},
	PositionTooOld:       {410, "The log does not reach back to the position"},
	BodyTooLarge:         {413, "The body is too large"},
	UnsupportedMediaType: {415, "The body is in a format that is not read here"},
	IdempotencyReused:    {422, "The Idempotency-Key was used with another request"},
	BadJID:               {422, "A JID is malformed"},
	UnknownDomain:        {422, "A domain is not served here"},
	UnknownAccount:       {422, "An account does not exist"},
	RepeatedRecipient:    {422, "A recipient is there twice"},
	TooManyRecipients:    {422, "There are too many recipients"},
	NoRecipient:          {422, "No recipient can get the message"},
	EmptyMessage:         {422, "The message says nothing"},
	BadPayload:           {422, "The payload is not XML that a message may hold"},
	RateLimited:          {429, "The API key asks too often"},
	TooManyStreams:       {429, "The API key has too many streams open"},
	SlowReader:           {429, "The stream is not read as fast as things change"},
	Internal:             {500, "The server has a fault"},
	Behind:               {503, "What is read here has not reached the position"},
	LogUnavailable:       {503, "The log does not answer"},
	Unavailable:          {503, "The server cannot answer now"},
}

// A Problem is an error as clients see it (RFC 9457). Its type is
// urn:rollcall:problem:CODE.
type Problem struct {
	Type    string `json:"type"`
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Detail  string `json:"detail"`
	Code    Code   `json:"code"`
	Request string `json:"request_id"`

	Results []result `json:"results,omitempty"` // of no-recipient and log-unavailable: what came of each recipient
}

// problem makes a Problem; the detail is for people.
func problem(code Code, detail string, args ...any) *Problem {
	k, ok := kinds[code]
	if !ok {
		panic("httpapi: no problem is called " + code)
	}
	return &Problem{Type: "urn:rollcall:problem:" + string(code), Title: k.title, Status: k.status, Detail: fmt.Sprintf(detail, args...), Code: code}
}

// Error gives the code and the detail.
func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }

func (p *Problem) write(w http.ResponseWriter, request string) {
	p.Request = request
	writeAs(w, p.Status, "application/problem+json", p)
}

// writeJSON answers with a value.
func writeJSON(w http.ResponseWriter, status int, value any) {
	writeAs(w, status, "application/json", value)
}

func writeAs(w http.ResponseWriter, status int, kind string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // our own types
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that is gone hears nothing
}

// parseQuery reads the query, which net/http would read in part.
func parseQuery(r *http.Request) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, problem(InvalidParameter, "the query cannot be read")
	}
	return query, nil
}

// isConnectionError tells that Postgres is away, or about to go.
func isConnectionError(err error) bool {
	var connect *pgconn.ConnectError
	var pg *pgconn.PgError
	var network net.Error
	if errors.As(err, &pg) {
		return len(pg.Code) == 5 && (pg.Code[:2] == "08" || pg.Code[:3] == "57P")
	}
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err)
}
