package api_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
)

var sampleOperation = api.Operation{
	Op: api.OpSession, ID: "r1", Node: "a", Service: "mesh-api", Home: "b", Version: 3, Status: 200, Attempts: 2, Errors: []string{"busy"},
	Invoked: time.Date(2030, 1, 1, 0, 0, 1, 0, time.UTC), Returned: time.Date(2030, 1, 1, 0, 0, 1, 1e7, time.UTC), Result: api.OK,
}

func TestReadHistory(t *testing.T) {
	good, err := json.Marshal(sampleOperation)
	if err != nil {
		t.Fatal(err)
	}
	ops, err := api.ReadHistory(strings.NewReader(string(good) + "\n" + string(good) + "\n"))
	if err != nil || len(ops) != 2 || !reflect.DeepEqual(ops[0], sampleOperation) {
		t.Fatalf("got %+v, %v", ops, err)
	}
	for name, change := range map[string][2]string{
		"cut short":         {`]}`, `]`},
		"unknown operation": {`"session"`, `"wrote"`},
		"unknown result":    {`"ok"`, `"fine"`},
		"no id":             {`"r1"`, `""`},
		"no home":           {`"b"`, `""`},
		"no attempt":        {`"attempts":2`, `"attempts":0`},
		"time runs back":    {"01.01Z", "00.01Z"},
	} {
		bad := strings.Replace(string(good), change[0], change[1], 1)
		if bad == string(good) {
			t.Errorf("%s: nothing was changed in %s", name, good)
		}
		if _, err := api.ReadHistory(strings.NewReader(string(good) + "\n" + bad)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
