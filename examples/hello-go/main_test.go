package main

import (
	"strings"
	"testing"
)

func TestTheGreetingRepeatsWhatWasSent(t *testing.T) {
	if !strings.HasSuffix(greeting("ping"), ": ping\n") {
		t.Fatal(greeting("ping"))
	}
}
