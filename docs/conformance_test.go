// Package docs holds what is written about Rollcall to what is in its source.
package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A named test is `folder.TestName`, or `folder.TestName/how cases begin`.
var named = regexp.MustCompile("`([a-z0-9_/]+)\\.(Test\\w+)(?:/([^`]+))?`")

// functions gives the test functions of a folder of the repository by name.
func functions(t *testing.T, folder string) map[string]*ast.FuncDecl {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]*ast.FuncDecl)
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				all[fn.Name.Name] = fn
			}
		}
	}
	return all
}

// says tells whether a function has a string that begins so: the name of a case.
func says(fn *ast.FuncDecl, prefix string) bool {
	found := false
	ast.Inspect(fn, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && strings.HasPrefix(s, prefix) {
				found = true
			}
		}
		return !found
	})
	return found
}

// cells gives the cells of a row of a table; nil if the line is none.
func cells(line string) []string {
	if !strings.HasPrefix(line, "| ") || !strings.HasSuffix(line, " |") {
		return nil
	}
	row := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
	for i := range row {
		row[i] = strings.TrimSpace(row[i])
	}
	return row
}

// What CONFORMANCE.md says is tested has its test, and what is a test of an RFC
// has its row.
func TestConformanceAgreesWithTheTests(t *testing.T) {
	text, err := os.ReadFile("CONFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	folders := make(map[string]map[string]*ast.FuncDecl)
	in := make(map[string]bool) // "folder.TestName" that has a row
	rows := 0
	for i, line := range strings.Split(string(text), "\n") {
		row := cells(line)
		if row == nil && strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "|--") {
			t.Errorf("line %d: not a row", i+1)
		}
		if row != nil && len(row) < 4 {
			t.Errorf("line %d: %d cells", i+1, len(row))
		}
		tests := named.FindAllStringSubmatch(line, -1)
		if row != nil && strings.Contains(row[len(row)-1], "`") {
			rows++
			if n := strings.Count(row[len(row)-1], "`"); n != 2*len(tests) {
				t.Errorf("line %d: %d tests are named in a way that is not understood", i+1, n/2-len(tests))
			}
		}
		for _, m := range tests {
			folder, name, begins := m[1], m[2], m[3]
			if folders[folder] == nil {
				folders[folder] = functions(t, folder)
			}
			in[folder+"."+name] = true
			switch fn := folders[folder][name]; {
			case fn == nil:
				t.Errorf("line %d: there is no test %s in %s", i+1, name, folder)
			case begins != "" && !says(fn, begins):
				t.Errorf("line %d: no case of %s in %s begins with %q", i+1, name, folder, begins)
			}
		}
	}
	if rows < 100 {
		t.Errorf("only %d rows name a test", rows)
	}
	err = filepath.WalkDir("..", func(file string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.IsDir() && d.Name() == "node_modules" {
			return filepath.SkipDir
		}
		if d.IsDir() {
			folder := path.Clean(strings.TrimPrefix(filepath.ToSlash(file), "../"))
			for name := range functions(t, folder) {
				if strings.HasPrefix(name, "TestRFC") && !in[folder+"."+name] {
					t.Errorf("%s in %s has no row", name, folder)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
