package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// metrics reads metrics in Prometheus' text format from standard input and fails for what `promtool check metrics` refuses.
// promtool calls the same package; go.mod pins the version that the promtool of the pinned Prometheus is built with.
func metrics(arguments []string) error {
	if len(arguments) != 0 {
		return errors.New("the metrics are read from standard input")
	}
	problems, err := promlint.New(os.Stdin).Lint()
	if err != nil {
		return err
	}
	var faults []error
	for _, problem := range problems {
		faults = append(faults, fmt.Errorf("%s %s", problem.Metric, problem.Text))
	}
	return errors.Join(faults...)
}
