// checks tests the chart, the metrics and the scripts for deployment tools with the libraries of the tools that use them.
package main

import (
	"fmt"
	"os"
)

// Each function reads standard input or files, and returns what does not conform.
var programs = map[string]func(arguments []string) error{
	"conform": conform,
	"health":  health,
	"metrics": metrics,
	"rules":   rules,
}

func main() {
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: checks health SCRIPT <OBJECT | metrics <METRICS | rules <RULES | conform SWAGGER CRD... <OBJECTS")
		os.Exit(2)
	}
	if err := programs[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "checks %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
