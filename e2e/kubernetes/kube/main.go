// kube contains all programs of the cluster that can be imported: shared packages are compiled and linked once.
//
// The name of the binary, or otherwise its first argument, selects the program.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// Each function runs a program with os.Args as its arguments, and returns the exit status.
var programs = map[string]func() int{
	"containerd":              containerd,
	"ctr":                     ctr,
	"etcd":                    etcd,
	"helm":                    helm,
	"kube-apiserver":          apiserver,
	"kube-controller-manager": controllerManager,
	"kube-proxy":              proxy,
	"kube-scheduler":          scheduler,
	"kubectl":                 kubectl,
	"kubelet":                 kubelet,
}

func main() {
	name := filepath.Base(os.Args[0])
	if programs[name] == nil && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	run := programs[name]
	if run == nil {
		fmt.Fprintf(os.Stderr, "kube: no program is called %q\n", name)
		os.Exit(2)
	}
	os.Exit(run())
}

// status prints an error, if any, and returns the exit status.
func status(program string, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
	return 1
}
