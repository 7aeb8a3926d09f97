#!/usr/bin/env bash
# Before Chaos Mesh takes an object its webhook asks whether the user has the right to it, by a
# SubjectAccessReview for the kind's name in lower case. Of most kinds that is the resource's name:
# networkchaos. Of Schedule it is `schedule`, and the resource is `schedules`. A user whose role
# grants schedules.chaos-mesh.org, which the API server asks for, is refused by the webhook.
#
# Exit 0: still so. Exit 1: it has changed. Needs the go command and a module proxy.
set -euo pipefail
mesh=github.com/chaos-mesh/chaos-mesh@v0.9.1-0.20260902003049-47411975a8cb
api=github.com/chaos-mesh/chaos-mesh/api@v0.0.0-20260906172039-d70b66ad97ac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# The module itself takes its API from a directory that is not in it.
go mod init finding >/dev/null 2>&1
go mod edit -require "$mesh" -replace "github.com/chaos-mesh/chaos-mesh/api=$api"
cat >main.go <<'GO'
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"github.com/chaos-mesh/chaos-mesh/pkg/webhook"
	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admission/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	authorization "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

const selector = `"mode":"all","selector":{"namespaces":["default"]}`

func main() {
	asked := ""
	// An API server that grants the resources that there are.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review authorizationv1.SubjectAccessReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			panic(err)
		}
		asked = review.Spec.ResourceAttributes.Resource
		review.Status.Allowed = asked == "networkchaos" || asked == "schedules"
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(review); err != nil {
			panic(err)
		}
	}))
	defer server.Close()
	client, err := authorization.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		panic(err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		panic(err)
	}
	v := webhook.NewAuthValidator(true, client, scheme, true, "", false, logr.Discard())
	for kind, spec := range map[string]string{
		"NetworkChaos": `{"action":"delay",` + selector + `}`,
		"Schedule":     `{"schedule":"@every 5m","type":"PodChaos","concurrencyPolicy":"Forbid","podChaos":{"action":"pod-kill",` + selector + `}}`,
	} {
		object := fmt.Sprintf(`{"apiVersion":"chaos-mesh.org/v1alpha1","kind":%q,"metadata":{"name":"x","namespace":"default"},"spec":%s}`, kind, spec)
		answer := v.Handle(context.Background(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			Kind:      metav1.GroupVersionKind{Group: "chaos-mesh.org", Version: "v1alpha1", Kind: kind},
			Operation: admissionv1.Create, Object: runtime.RawExtension{Raw: []byte(object)},
		}})
		fmt.Printf("%s asks for %s: allowed %t\n", kind, asked, answer.Allowed)
	}
}
GO
go mod tidy >/dev/null 2>&1
out=$(go run . | sort | paste -sd ';')
echo "version:   $mesh"
echo "behaviour: $out"
if [ "$out" = "NetworkChaos asks for networkchaos: allowed true;Schedule asks for schedule: allowed false" ]; then
  exit 0
fi
echo "changed: $out" >&2
exit 1
