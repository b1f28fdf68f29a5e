package main

import (
	"fmt"
	"os"

	lint "github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// Exit status of `promtool check metrics` if it finds problems.
const foundProblems = 3

// promlint reads metrics in Prometheus' text format from standard input and prints violations of its conventions.
func promlint() int {
	problems, err := lint.New(os.Stdin).Lint()
	if err != nil {
		return status("promlint", fmt.Errorf("cannot parse the metrics: %w", err))
	}
	for _, problem := range problems {
		fmt.Println(problem.Metric, problem.Text)
	}
	if len(problems) > 0 {
		return foundProblems
	}
	return 0
}
