package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// clickhouse asks ClickHouse over HTTP; the answer is tab-separated.
func (s *stack) clickhouse(t testing.TB, sql string) (string, error) {
	r := s.run(t)
	// An idle connection would make the server wait when it stops.
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Post("http://"+r.ClickhouseHTTP+"/?database=rollcall", "text/plain", strings.NewReader(sql))
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(string(text))
	}
	return string(text), err
}

// metric sums a metric over the parts of a role.
func (s *stack) metric(t testing.TB, role, name string) (sum float64, err error) {
	r := s.run(t)
	for _, p := range r.Parts {
		if p.Role != role {
			continue
		}
		text, err := get(p.Admin, "/metrics")
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(text) {
			rest, ok := strings.CutPrefix(line, name)
			if !ok || rest[0] != ' ' && rest[0] != '{' {
				continue
			}
			fields := strings.Fields(line)
			v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				return 0, err
			}
			sum += v
		}
	}
	return sum, nil
}

func get(addr, path string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + addr + path)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	return string(text), err
}
