package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rollcall/rollcall/edge"
	"github.com/rollcall/rollcall/schema/jid"
)

type componentFlags struct {
	ListenComponents string `help:"Take connections of components (XEP-0114) here, in the clear: on an address that only they reach; empty: nowhere." placeholder:"HOST:PORT"`
	ComponentsFile   string `help:"The components: a line DOMAIN=SECRET for each; the same on every edge, whichever they connect to." type:"path" placeholder:"FILE"`
	ComponentRate    int    `help:"Stanzas that a component may send a second, for long; -1: no limit." default:"5000"`
}

type pushFlags struct {
	PushBody   bool          `help:"Tell push services (XEP-0357) what the last message says, not only who sent it."`
	PushAnswer time.Duration `help:"How long a push service's answer is waited for before it is told again." default:"30s"`
	PushFor    time.Duration `help:"How long a push service is tried to be told of a message." default:"24h"`
}

func (f *pushFlags) options(jobs edge.Pushes) edge.PushOptions {
	return edge.PushOptions{Jobs: jobs, Body: f.PushBody, AnswerIn: f.PushAnswer, For: f.PushFor}
}

// options gives the components of a server of domain.
func (f *componentFlags) options(domain string) (edge.ComponentOptions, error) {
	o := edge.ComponentOptions{Limits: edge.Limits{StanzaRate: f.ComponentRate}}
	if f.ComponentsFile == "" {
		if f.ListenComponents != "" {
			return o, errors.New("--listen-components without --components-file: no component could connect")
		}
		return o, nil
	}
	var err error
	o.Secrets, err = readComponents(f.ComponentsFile, domain)
	return o, err
}

// readComponents reads a file of components. What is wrong is told by the
// number of its line, for the line holds a secret.
func readComponents(path, domain string) (map[string]string, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--components-file: %w", err)
	}
	defer file.Close()
	secrets := make(map[string]string)
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		bad := func(why string) error { return fmt.Errorf("--components-file %s, line %d: %s", path, n, why) }
		name, secret, ok := strings.Cut(line, "=")
		name, secret = strings.TrimSpace(name), strings.TrimSpace(secret)
		_, twice := secrets[name]
		switch parsed, err := jid.ParseBare(name); {
		case !ok || secret == "":
			return nil, bad("say DOMAIN=SECRET")
		case err != nil || parsed.Local() != "" || parsed.String() != name:
			return nil, bad("say a domain in its canonical form before the =")
		case name == domain:
			return nil, bad("a component cannot serve " + domain + " itself")
		case twice:
			return nil, bad(name + " is there twice")
		}
		secrets[name] = secret
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("--components-file %s: %w", path, err)
	}
	return secrets, nil
}
