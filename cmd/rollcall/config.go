package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// configFile gives flags their values from a YAML file. A key is a flag's
// name; under the name of a command it counts for that command alone.
type configFile map[string]any

func loadConfig(r io.Reader) (kong.Resolver, error) {
	var c map[string]any
	if err := yaml.NewDecoder(r).Decode(&c); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read the configuration file: %w", err)
	}
	return configFile(c), nil
}

// Validate refuses a key that no command knows: it would be silently without
// effect.
func (c configFile) Validate(app *kong.Application) error {
	known := make(map[string]map[string]bool) // command -> flags; "" for all
	known[""] = make(map[string]bool)
	note := func(command string, n *kong.Node) {
		for _, f := range n.Flags {
			known[command][f.Name] = true
			known[""][f.Name] = true
		}
	}
	note("", app.Node)
	for _, child := range app.Children {
		known[child.Name] = make(map[string]bool)
		note(child.Name, child)
		for _, grandchild := range child.Children {
			note(child.Name, grandchild)
		}
	}
	for key, value := range c {
		section, isSection := value.(map[string]any)
		if !isSection {
			if !known[""][key] {
				return fmt.Errorf("configuration file: no flag is named %q", key)
			}
			continue
		}
		flags, ok := known[key]
		if !ok {
			return fmt.Errorf("configuration file: no command is named %q", key)
		}
		for name := range section {
			if !flags[name] {
				return fmt.Errorf("configuration file: %s has no flag %q", key, name)
			}
		}
	}
	return nil
}

// Resolve gives the value of a flag, nil if the file does not name it or the
// environment, which wins, does.
func (c configFile) Resolve(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Envs {
		if _, ok := os.LookupEnv(name); ok {
			return nil, nil
		}
	}
	for node := parent.Node(); node != nil; node = node.Parent {
		if section, ok := c[node.Name].(map[string]any); ok {
			if value, ok := section[flag.Name]; ok {
				return scalar(value), nil
			}
		}
	}
	if value, ok := c[flag.Name]; ok {
		return scalar(value), nil
	}
	return nil, nil
}

// scalar turns a YAML list into the comma-separated form that flags take.
func scalar(value any) any {
	list, ok := value.([]any)
	if !ok {
		return fmt.Sprint(value)
	}
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = fmt.Sprint(v)
	}
	return strings.Join(parts, ",")
}
