package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestComponentsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "components")
	for _, c := range []struct{ name, text, says string }{
		{"components", "# push\n\n push.example.com = a=b \nrooms.example.com=x\n", ""},
		{"no secret", "push.example.com=\n", "line 1: say DOMAIN=SECRET"},
		{"no =", "\npush.example.com hunter2\n", "line 2: say DOMAIN=SECRET"},
		{"no domain", "a@push.example.com=hunter2\n", "line 1: say a domain"},
		{"upper case", "Push.example.com=hunter2\n", "line 1: say a domain"},
		{"the server", "example.com=hunter2\n", "cannot serve example.com itself"},
		{"twice", "push.example.com=hunter2\npush.example.com=hunter2\n", "line 2: push.example.com is there twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			o, err := (&componentFlags{ComponentsFile: path}).options("example.com")
			if c.says == "" {
				if err != nil || len(o.Secrets) != 2 || o.Secrets["push.example.com"] != "a=b" {
					t.Error(o.Secrets, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
				t.Error(err)
			}
		})
	}
	if _, err := (&componentFlags{ComponentsFile: path + "not"}).options("example.com"); err == nil {
		t.Error("a file that is not there is taken")
	}
	if _, err := (&componentFlags{ListenComponents: "127.0.0.1:0"}).options("example.com"); err == nil {
		t.Error("a port that nobody can use is opened")
	}
}
