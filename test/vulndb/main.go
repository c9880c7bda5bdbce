// Vulndb makes a database for govulncheck of the module golang.org/x/vulndb, for where vuln.go.dev cannot be read but the module
// proxy can: go run ./test/vulndb MODULE-DIRECTORY NEW-DIRECTORY. The layout is that of go.dev/doc/security/vuln/database.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// report is what the index needs of an OSV report.
type report struct {
	ID       string   `json:"id"`
	Modified string   `json:"modified"`
	Aliases  []string `json:"aliases"`
	Affected []struct {
		Package struct{ Name string }
		Ranges  []struct{ Events []struct{ Fixed string } }
	} `json:"affected"`
}

// named is a report in the index.
type named struct {
	ID       string   `json:"id"`
	Modified string   `json:"modified"`
	Fixed    string   `json:"fixed,omitempty"`
	Aliases  []string `json:"aliases,omitempty"`
}

type module struct {
	Path  string  `json:"path"`
	Vulns []named `json:"vulns"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: vulndb MODULE-DIRECTORY NEW-DIRECTORY")
		os.Exit(2)
	}
	if err := convert(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func convert(from, to string) error {
	files, err := filepath.Glob(filepath.Join(from, "data", "osv", "*.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no reports in %s (%v)", from, err)
	}
	for _, dir := range []string{"ID", "index"} {
		if err := os.MkdirAll(filepath.Join(to, dir), 0o755); err != nil {
			return err
		}
	}
	var all []named
	var modules []module
	at := make(map[string]int)
	last := ""
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var r report
		if err := json.Unmarshal(text, &r); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(to, "ID", r.ID+".json"), text, 0o644); err != nil {
			return err
		}
		last = max(last, r.Modified)
		all = append(all, named{ID: r.ID, Modified: r.Modified, Aliases: r.Aliases})
		for _, a := range r.Affected {
			n := named{ID: r.ID, Modified: r.Modified}
			for _, x := range a.Ranges {
				for _, e := range x.Events {
					if e.Fixed != "" {
						n.Fixed = e.Fixed
					}
				}
			}
			i, known := at[a.Package.Name]
			if !known {
				i = len(modules)
				at[a.Package.Name] = i
				modules = append(modules, module{Path: a.Package.Name})
			}
			modules[i].Vulns = append(modules[i].Vulns, n)
		}
	}
	for name, value := range map[string]any{"db": map[string]string{"modified": last}, "modules": modules, "vulns": all} {
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, "index", name+".json"), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
