package main

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

const contrib = "github.com/open-telemetry/opentelemetry-collector-contrib/"

// The modules whose tests use conditions on spans.
var modules = []string{
	"pkg/ottl", "internal/filter", "processor/tailsamplingprocessor", "processor/filterprocessor",
	"processor/transformprocessor", "connector/countconnector",
}

var where = regexp.MustCompile(`\bwhere\b`)

// Returns the distinct conditions of the tests, in the order of their texts.
func (c *collector) conditions() []condition {
	found := map[string]condition{}
	for _, module := range modules {
		check(filepath.WalkDir(folder(contrib+module), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			for _, text := range texts(path) {
				candidates := []string{text}
				// Of a statement, its condition.
				for _, at := range where.FindAllStringIndex(text, -1) {
					candidates = append(candidates, text[at[1]:])
				}
				for _, candidate := range candidates {
					candidate = strings.TrimSpace(candidate)
					if context := c.context(candidate); candidate != "" && context != "" {
						found[candidate] = condition{candidate, context}
					}
				}
			}
			return nil
		}))
	}
	conditions := make([]condition, 0, len(found))
	for _, c := range found {
		conditions = append(conditions, c)
	}
	sort.Slice(conditions, func(a, b int) bool { return conditions[a].text < conditions[b].text })
	return conditions
}

// Returns the folder of the module, in the version of pkg/ottl that this program is built with.
func folder(module string) string {
	version := ""
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == contrib+"pkg/ottl" {
			version = dependency.Version
		}
	}
	output, err := exec.Command("go", "mod", "download", "-json", module+"@"+version).Output()
	check(err)
	var downloaded struct{ Dir string }
	check(json.Unmarshal(output, &downloaded))
	return downloaded.Dir
}

// Returns the texts in a test or in its data.
func texts(path string) (found []string) {
	switch {
	case strings.HasSuffix(path, "_test.go"):
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		check(err)
		ast.Inspect(file, func(node ast.Node) bool {
			if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, err := strconv.Unquote(literal.Value)
				check(err)
				found = append(found, text)
			}
			return true
		})
	case strings.Contains(path, "/testdata/") && strings.HasSuffix(path, ".yaml"):
		data, err := os.ReadFile(path)
		check(err)
		var document yaml.Node
		for decoder := yaml.NewDecoder(bytes.NewReader(data)); decoder.Decode(&document) == nil; {
			found = append(found, scalars(&document)...)
		}
	}
	return found
}

func scalars(node *yaml.Node) (found []string) {
	if node.Kind == yaml.ScalarNode {
		found = append(found, node.Value)
	}
	for _, part := range node.Content {
		found = append(found, scalars(part)...)
	}
	return found
}
