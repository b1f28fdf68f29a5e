// kube is every program of the cluster that can be imported, in one binary: what they share is compiled and linked once.
//
// Which one it is comes from the name it is called by, or else from its first argument.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// Runs until it is done and returns the exit status; os.Args are those of the program itself.
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
	"promlint":                promlint,
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

// The exit status that goes with an error, which it prints.
func status(program string, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
	return 1
}
