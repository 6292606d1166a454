package main

import (
	"slices"
	"strings"
	"testing"
)

func TestCheckNamesWhatIsMissing(t *testing.T) {
	whole := options{lib: "l", path: "p", port: 1, httpPort: 2, database: "rollcall"}
	if err := whole.check(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*options){
		"-lib":       func(o *options) { o.lib = "" },
		"-path":      func(o *options) { o.path = "" },
		"-http-port": func(o *options) { o.httpPort = 0 },
		"-database":  func(o *options) { o.database = "a`b" },
	} {
		o := whole
		spoil(&o)
		if err := o.check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without %s: %v", want, err)
		}
	}
}

// Settings of the server count only after "--", those of queries only before it.
func TestArgumentsKeepServerSettingsLast(t *testing.T) {
	arguments := options{path: "p", database: "rollcall", memoryBytes: 1 << 30}.arguments()
	border := slices.Index(arguments, "--")
	if i := slices.Index(arguments, "--max_server_memory_usage=1073741824"); border < 0 || i < border {
		t.Errorf("memory limit at %d, border at %d", i, border)
	}
	if i := slices.Index(arguments, "--async_insert=0"); i < 0 || i > border {
		t.Errorf("async_insert at %d, border at %d", i, border)
	}
}
