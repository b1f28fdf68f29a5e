package main

import (
	"errors"
	"os"

	containerdcmd "github.com/containerd/containerd/v2/cmd/containerd/command"
	ctrapp "github.com/containerd/containerd/v2/cmd/ctr/app"
	"go.etcd.io/etcd/server/v3/etcdmain"
	helmcmd "helm.sh/helm/v4/pkg/cmd"
	helmkube "helm.sh/helm/v4/pkg/kube"

	// Registers snapshotters, the CRI and all other plugins of containerd.
	_ "github.com/containerd/containerd/v2/cmd/containerd/builtins"
)

func containerd() int { return status("containerd", containerdcmd.App().Run(os.Args)) }
func ctr() int        { return status("ctr", ctrapp.New().Run(os.Args)) }

func etcd() int {
	etcdmain.Main(os.Args)
	return 0
}

func helm() int {
	// As helm's own main function sets it: the owner of the fields that a release applies.
	helmkube.ManagedFieldsManager = "helm"
	command, err := helmcmd.NewRootCmd(os.Stdout, os.Args[1:], helmcmd.SetupLogging)
	if err != nil {
		return status("helm", err)
	}
	err = command.Execute()
	var coded helmcmd.CommandError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.ExitCode
	default:
		return 1
	}
}
