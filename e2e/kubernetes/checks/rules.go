package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// rules reads a rule file from standard input and fails for what `promtool check rules` refuses.
func rules(arguments []string) error {
	if len(arguments) != 0 {
		return errors.New("the rules are read from standard input")
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	groups, faults := rulefmt.Parse(input, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.Default())
	if err := errors.Join(faults...); err != nil {
		return err
	}
	count := 0
	for _, group := range groups.Groups {
		count += len(group.Rules)
	}
	if count == 0 {
		return errors.New("there are no rules")
	}
	fmt.Printf("%d rules\n", count)
	return nil
}
