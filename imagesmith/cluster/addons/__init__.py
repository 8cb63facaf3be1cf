"""Add-ons, as manifests that k3s applies by itself: from recipes and an inventory's words to objects, to texts.

Called by `cluster.contents`, and by `workflow.addons` for clusters that run. Pure. Objects are data until `yaml_text`
writes them; a value of the user's is never more than a value.
"""
