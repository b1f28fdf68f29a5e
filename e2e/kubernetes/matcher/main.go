// Command matcher says which packets NetworkPolicies allow, as the matcher of cyclonus understands them. It
// reads a cluster with packets per line, and writes a line with a 1 for each packet that is allowed and a 0
// for each other one.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/mattfenwick/cyclonus/pkg/matcher"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
)

// A cluster, as the API server has its objects, with packets.
type cluster struct {
	Namespaces []core.Namespace
	Pods       []core.Pod
	Policies   []*networking.NetworkPolicy
	Packets    []packet
}

// A packet to a pod.
type packet struct {
	// The index of the pod that it is sent to.
	Target   int
	Source   string
	Protocol core.Protocol
	Port     int32
}

func main() {
	if err := answer(); err != nil {
		fmt.Fprintln(os.Stderr, "matcher:", err)
		os.Exit(1)
	}
}

func answer() error {
	out := bufio.NewWriter(os.Stdout)
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	for in.More() {
		var asked cluster
		if err := in.Decode(&asked); err != nil {
			return err
		}
		for _, policy := range asked.Policies {
			// As the API server does: none of these policies has rules of egress.
			if len(policy.Spec.PolicyTypes) == 0 {
				policy.Spec.PolicyTypes = []networking.PolicyType{networking.PolicyTypeIngress}
			}
		}
		policies := matcher.BuildNetworkPolicies(false, asked.Policies)
		for _, packet := range asked.Packets {
			verdict := byte('0')
			if policies.IsIngressOrEgressAllowed(asked.traffic(packet), true).IsAllowed() {
				verdict = '1'
			}
			out.WriteByte(verdict)
		}
		out.WriteByte('\n')
		// The next question may wait for this answer.
		if err := out.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) traffic(asked packet) *matcher.Traffic {
	target := &c.Pods[asked.Target]
	source := &matcher.TrafficPeer{IP: asked.Source}
	for index := range c.Pods {
		pod := &c.Pods[index]
		// Selectors of pods do not mean pods in the host's network.
		if !pod.Spec.HostNetwork && hasAddress(pod, asked.Source) {
			source.Internal = c.peer(pod)
		}
	}
	return &matcher.Traffic{
		Source:           source,
		Destination:      &matcher.TrafficPeer{Internal: c.peer(target), IP: target.Status.PodIPs[0].IP},
		ResolvedPort:     int(asked.Port),
		ResolvedPortName: portName(target, asked.Protocol, asked.Port),
		Protocol:         asked.Protocol,
	}
}

func (c *cluster) peer(pod *core.Pod) *matcher.InternalPeer {
	peer := &matcher.InternalPeer{PodLabels: pod.Labels, Namespace: pod.Namespace}
	for index := range c.Namespaces {
		if c.Namespaces[index].Name == pod.Namespace {
			peer.NamespaceLabels = c.Namespaces[index].Labels
		}
	}
	return peer
}

func hasAddress(pod *core.Pod, address string) bool {
	for _, own := range pod.Status.PodIPs {
		if own.IP == address {
			return true
		}
	}
	return false
}

func portName(pod *core.Pod, protocol core.Protocol, number int32) string {
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			own := port.Protocol
			if own == "" {
				own = core.ProtocolTCP
			}
			if own == protocol && port.ContainerPort == number {
				return port.Name
			}
		}
	}
	return ""
}
