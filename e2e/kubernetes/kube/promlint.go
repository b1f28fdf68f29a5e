package main

import (
	"fmt"
	"os"

	lint "github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// The exit status of `promtool check metrics` where it has found something.
const foundProblems = 3

// promlint reads metrics in Prometheus' text format from standard input and prints where they break its conventions.
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
