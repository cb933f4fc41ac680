// Counts how many OTTL conditions of the Collector's own tests Spansieve accepts, and compares the answers of both on
// random spans:
//
//	go run -C tools/ottl-conditions . PATH/OF/spansieve
//
// The conditions come from the tests of the modules in corpus.go, in the version that go.mod names. All of a test's texts
// are tried: a text is a condition if the Collector's own parser takes it as a condition on a span or on a span's event.
// With -random N the program also makes N conditions by chance, of the fields and functions that both know, and compares
// those. The exit code is 1 if an answer differs.
package main

import (
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
)

// A condition and its context: `span` or `spanevent`, as in the policy `ottl_condition`.
type condition struct {
	text, context string
}

func main() {
	random := flag.Int("random", 0, "also compare this many conditions made by chance")
	seed := flag.Int64("seed", 1, "seed of the samples and of the conditions made by chance")
	count := flag.Int("samples", 300, "number of random spans")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: ottl-conditions [-random N] [-seed N] [-samples N] PATH/OF/spansieve")
		os.Exit(2)
	}
	collector, spansieve := newCollector(), spansieve{flag.Arg(0)}
	conditions := collector.conditions()
	same := report(conditions, collector, spansieve, rand.New(rand.NewSource(*seed)), *count)
	if *random > 0 {
		chance := rand.New(rand.NewSource(*seed))
		made := make([]condition, *random)
		for i := range made {
			made[i] = randomCondition(chance)
		}
		fmt.Printf("\nmade by chance: ")
		same = report(made, collector, spansieve, chance, *count) && same
	}
	if !same {
		os.Exit(1)
	}
}

// Prints the numbers, the reasons of the refusals and the differences. Returns true if no answer differs.
func report(conditions []condition, collector *collector, spansieve spansieve, chance *rand.Rand, count int) bool {
	refusals := spansieve.refusals(conditions)
	var accepted []condition
	byReason := map[string][]string{}
	for i, c := range conditions {
		if reason := refusals[i]; reason != "" {
			byReason[reason] = append(byReason[reason], c.text)
		} else {
			accepted = append(accepted, c)
		}
	}
	fmt.Printf("%d conditions: %d accepted, %d refused\n", len(conditions), len(accepted), len(conditions)-len(accepted))
	reasons := make([]string, 0, len(byReason))
	for reason := range byReason {
		reasons = append(reasons, reason)
	}
	sort.Slice(reasons, func(a, b int) bool {
		if len(byReason[reasons[a]]) != len(byReason[reasons[b]]) {
			return len(byReason[reasons[a]]) > len(byReason[reasons[b]])
		}
		return reasons[a] < reasons[b]
	})
	for _, reason := range reasons {
		fmt.Printf("%6d  %s: %s\n", len(byReason[reason]), reason, byReason[reason][0])
	}
	return compare(accepted, collector, spansieve, chance, count)
}

// Compares the answers to all conditions on random spans. An error of the Collector decides nothing, so it is counted only.
func compare(conditions []condition, collector *collector, spansieve spansieve, chance *rand.Rand, count int) bool {
	compared, failed, differing := 0, 0, 0
	// What looks into a value as a text does not look into lists, maps and bytes here (docs/ottl.md).
	var textual, others []condition
	for _, c := range conditions {
		if strings.Contains(c.text, "IsMatch") || strings.Contains(c.text, "String(") || strings.Contains(c.text, "Concat") {
			textual = append(textual, c)
		} else {
			others = append(others, c)
		}
	}
	for _, group := range []struct {
		conditions []condition
		nested     bool
	}{{textual, false}, {others, true}} {
		samples := samples(group.conditions, chance, count, group.nested)
		ours := spansieve.answers(group.conditions, samples)
		for i, c := range group.conditions {
			isShown := false
			for n, trace := range samples {
				theirs, err := collector.answer(c, trace)
				switch {
				case err != nil:
					failed++
				case theirs == ours[i][n]:
					compared++
				default:
					differing++
					if !isShown {
						fmt.Printf("DIFFERS: %s %s: Spansieve %t, the Collector %t, for %s\n", c.context, c.text, ours[i][n], theirs, encoded(trace))
					}
					isShown = true
				}
			}
		}
	}
	fmt.Printf("%d answers are the same, %d differ, %d are errors in the Collector\n", compared, differing, failed)
	return differing == 0
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "ottl-conditions:", err)
		os.Exit(2)
	}
}
