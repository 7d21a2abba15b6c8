"""Validate an RO-Crate without a network: `python validate_crate.py CONTEXT CRATE`.

The validator asks a server for the context of a crate's words, and gets the file CONTEXT, which the
package rocrate ships.
"""

import json
import sys
from pathlib import Path

from rocrate_validator import models, services
from rocrate_validator.utils import document_loader

# What Bioschemas calls "terms" was without this word when the profile was written.
text = Path(sys.argv[1]).read_text().replace("bioschemas.org/terms/", "bioschemas.org/")
context = json.loads(text)
document_loader._fetch_json_ld = lambda address: context
settings = services.ValidationSettings(
    rocrate_uri=sys.argv[2],
    profile_identifier="workflow-run-crate-0.5",
    requirement_severity=models.Severity.REQUIRED,
    skip_checks=["ro-crate-1.1_3.1", "ro-crate-1.1_3.2"],  # whether the server answers
)
result = services.validate(settings)
for issue in result.get_issues():
    print(f"{issue.severity.name}: {issue.check.identifier}: {issue.message}")
sys.exit(result.has_issues())
