package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

type adminFlags struct {
	Admin string `help:"Listen here for /healthz, /readyz, /metrics and /debug/pprof; empty: nowhere (default: a free port of 127.0.0.1, which the log names)." default:"127.0.0.1:0" placeholder:"HOST:PORT"`
}

// admin is the door for operators: liveness, readiness, metrics, profiles.
type admin struct {
	registry *prometheus.Registry

	mu    sync.Mutex
	wants map[string]func(context.Context) error // by name; nil error: ready
}

func newAdmin() *admin {
	a := &admin{registry: prometheus.NewRegistry(), wants: make(map[string]func(context.Context) error)}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return a
}

// want makes readiness depend on check, which must answer soon.
func (a *admin) want(name string, check func(context.Context) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wants[name] = check
}

// listen opens the port; nil if addr is empty.
func (f adminFlags) listen() (net.Listener, error) {
	if f.Admin == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", f.Admin)
	if err != nil {
		return nil, fmt.Errorf("admin port: %w; say another --admin", err)
	}
	slog.Info("admin port is open", "address", listener.Addr().String())
	return listener, nil
}

// serve answers on listener until ctx ends.
func (a *admin) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: a.handler(), ReadHeaderTimeout: 5 * time.Second}
	stopped := context.AfterFunc(ctx, func() { server.Close() })
	defer stopped()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin port: %w", err)
	}
	return nil
}

func (a *admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", a.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// ready answers 200 if nothing is missing, else 503 and a line for each thing.
func (a *admin) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	a.mu.Lock()
	wants := make(map[string]func(context.Context) error, len(a.wants))
	for name, check := range a.wants {
		wants[name] = check
	}
	a.mu.Unlock()
	var missing []string
	for name, check := range wants {
		if err := check(ctx); err != nil {
			missing = append(missing, name+": "+err.Error())
		}
	}
	if len(missing) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for _, m := range missing {
		fmt.Fprintln(w, m)
	}
	if len(missing) == 0 {
		fmt.Fprintln(w, "ready")
	}
}
