package remark_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keelson/keelson/internal/engine/cell/remark"
	"github.com/keelson/keelson/internal/model/record"
	"github.com/keelson/keelson/internal/model/spec"
)

func TestAServiceIsExclusiveWhenEveryNodeHasHeardSo(t *testing.T) {
	yes, no := true, false
	services := map[spec.ServiceName]record.Service{
		"shop": {Spec: spec.Service{Name: "shop", Exclusive: &yes}},
		"web":  {Spec: spec.Service{Name: "web", Exclusive: &no}},
		"mq":   {Spec: spec.Service{Name: "mq"}},
	}
	nodes := map[spec.NodeName]record.Node{"a": {}, "b": {}, "c": {}}
	tests := []struct {
		name    string
		reports map[spec.NodeName]record.Report
		want    []string
	}{
		{"all have heard, and of what is not exclusive nothing is said", map[spec.NodeName]record.Report{
			"a": {Shares: []spec.ServiceName{"web"}}, "b": {}, "c": {Shares: []spec.ServiceName{"web"}},
		}, nil},
		{"some have not heard", map[spec.NodeName]record.Report{
			"a": {Shares: []spec.ServiceName{"shop", "web"}}, "c": {Shares: []spec.ServiceName{"mq", "shop"}},
		}, []string{
			"mq is not exclusive yet: c has not heard that it is to be, and until one lease after that two nodes may run it at once",
			"shop is not exclusive yet: a, c have not heard that it is to be, and until one lease after that two nodes may run it at once",
		}},
		{"one that was removed need not hear", map[spec.NodeName]record.Report{"z": {Shares: []spec.ServiceName{"shop"}}}, nil},
		{"one that was deleted is nobody's", map[spec.NodeName]record.Report{"a": {Shares: []spec.ServiceName{"gone"}}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, remark.NotYetExclusive(services, nodes, tt.reports)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
