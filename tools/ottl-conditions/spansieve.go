package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/ptrace"
)

// So many conditions go into one configuration: it may have 128 comparisons and 100 errors.
const atOnce = 20

// The program `spansieve`.
type spansieve struct {
	path string
}

// The line of the first policy in a configuration.
const firstLine = 3

func configuration(conditions []condition) string {
	text := "tail_sampling:\n  policies:\n"
	for i, c := range conditions {
		// JSON is YAML as well.
		quoted, err := json.Marshal(c.text)
		check(err)
		text += fmt.Sprintf("    - {name: p%d, type: ottl_condition, ottl_condition: {%s: [%s]}}\n", i, c.context, quoted)
	}
	return text
}

// Runs the program with a configuration in a file. Returns its standard output.
func (s spansieve) run(conditions []condition, before []string, after ...string) []byte {
	folder, err := os.MkdirTemp("", "ottl-conditions")
	check(err)
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "config.yaml")
	check(os.WriteFile(path, []byte(configuration(conditions)), 0o600))
	command := exec.Command(s.path, append(append(before, path), after...)...)
	var problems bytes.Buffer
	command.Stderr = &problems
	output, err := command.Output()
	if len(output) == 0 {
		check(fmt.Errorf("%v: %s", err, problems.String()))
	}
	return output
}

// Returns why each condition is refused; nothing if it is accepted.
func (s spansieve) refusals(conditions []condition) []string {
	reasons := make([]string, len(conditions))
	for start := 0; start < len(conditions); start += atOnce {
		part := conditions[start:min(start+atOnce, len(conditions))]
		var report struct {
			Problems []struct {
				Line              int
				Severity, Message string
			}
		}
		check(json.Unmarshal(s.run(part, []string{"validate", "--format", "json"}), &report))
		for _, problem := range report.Problems {
			if problem.Severity == "error" {
				reasons[start+problem.Line-firstLine] = strings.TrimPrefix(problem.Message, "OTTL: ")
			}
		}
	}
	return reasons
}

// Returns for each condition and each trace whether the condition holds.
func (s spansieve) answers(conditions []condition, traces []ptrace.Traces) [][]bool {
	file, err := os.CreateTemp("", "ottl-conditions-*.json")
	check(err)
	defer os.Remove(file.Name())
	for _, trace := range traces {
		_, err := fmt.Fprintf(file, "%s\n", encoded(trace))
		check(err)
	}
	check(file.Close())
	answers := make([][]bool, 0, len(conditions))
	for start := 0; start < len(conditions); start += atOnce {
		part := conditions[start:min(start+atOnce, len(conditions))]
		for range part {
			answers = append(answers, make([]bool, len(traces)))
		}
		output := s.run(part, []string{"explain", "--format", "json", "--config"}, file.Name())
		for _, line := range bytes.Split(bytes.TrimSpace(output), []byte("\n")) {
			var explained struct {
				TraceID  string `json:"trace_id"`
				Policies []struct{ Name, Answer string }
			}
			check(json.Unmarshal(line, &explained))
			number, err := strconv.ParseInt(explained.TraceID, 16, 64)
			check(err)
			for _, policy := range explained.Policies {
				index, err := strconv.Atoi(strings.TrimPrefix(policy.Name, "p"))
				check(err)
				answers[start+index][number-1] = policy.Answer == "keeps"
			}
		}
	}
	return answers
}

func encoded(trace ptrace.Traces) []byte {
	text, err := (&ptrace.JSONMarshaler{}).MarshalTraces(trace)
	check(err)
	return text
}
