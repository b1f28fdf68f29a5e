// workload runs in the test pods: it counts packets and requests with their marks, and can be a client.
//
//	workload serve           UDP on :7777, HTTP on :8080 (both for IPv4 and IPv6); GET /counts
//	workload get URL         one HTTP request; prints the response
//	workload udp ADDR COUNT  numbered datagrams; prints how many, and their stream
//	workload pause           waits for SIGTERM
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = "usage: workload serve | get URL | udp ADDRESS:PORT COUNT [PER-SECOND] | pause"

func main() {
	command, arguments := "serve", []string{}
	if len(os.Args) > 1 {
		command, arguments = os.Args[1], os.Args[2:]
	}
	var err error
	switch {
	case command == "serve" && len(arguments) == 0:
		err = serve()
	case command == "get" && len(arguments) == 1:
		err = get(arguments[0])
	case command == "udp" && (len(arguments) == 2 || len(arguments) == 3):
		err = send(arguments)
	case command == "pause":
		<-stopped()
	default:
		err = fmt.Errorf("%s", usage)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "workload:", err)
		os.Exit(1)
	}
}

// The first process of a pod only receives signals that it handles.
func stopped() <-chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	return signals
}
