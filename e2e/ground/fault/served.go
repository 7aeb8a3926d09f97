package fault

import (
	"fmt"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
)

// served are the fields of metadata that a server writes.
var served = []string{"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"}

// dropServed takes out of an object what a server has written, as it stands in what
// `kubectl get -o yaml` prints, and returns the fields that it took.
func dropServed(object map[string]any) []string {
	var dropped []string
	if _, ok := object["status"]; ok {
		delete(object, "status")
		dropped = append(dropped, "status")
	}
	meta, _ := object["metadata"].(map[string]any)
	for _, key := range served {
		if _, ok := meta[key]; ok {
			delete(meta, key)
			dropped = append(dropped, "metadata."+key)
		}
	}
	return dropped
}

// refusePaused refuses an object whose annotation keeps it from ever being injected.
func refusePaused(o Object, fail failure) error {
	if _, ok := o.GetAnnotations()[v1alpha1.PauseAnnotationKey]; ok {
		return fail(fmt.Sprintf("metadata.annotations[%s]", v1alpha1.PauseAnnotationKey), "pauses the fault, which is then never injected: take it away")
	}
	return nil
}
