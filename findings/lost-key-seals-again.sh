#!/usr/bin/env bash
# Two encrypted fields for Django hand out the ciphertext where the key does not fit, and save() seals it again.
#
# A key that is missing after a rotation, or another environment's, is no error: the row loads, and what
# should be the token is the text that the database holds, which goes out as a bearer. A save() for any
# reason writes it back, sealed once more, and bringing the right key back shows no token any longer.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check \
    Django==5.2.19 django-encrypted-model-fields==0.6.5 django-fernet-encrypted-fields==0.4.0 cryptography==50.0.2

cat > site_with_tokens.py <<'CODE'
"""One run of a site with the key that the environment names."""
import os
import sys

import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    FIELD_ENCRYPTION_KEY=[os.environ["KEY"]],
    SALT_KEY=os.environ["KEY"],
    SECRET_KEY="a secret of the site",
)
django.setup()

from django.db import connection, models
from encrypted_fields.fields import EncryptedTextField as FernetEncryptedField
from encrypted_model_fields.fields import EncryptedTextField as EncryptedModelField


class Connection(models.Model):
    first = EncryptedModelField()
    second = FernetEncryptedField()
    label = models.TextField(default="")

    class Meta:
        app_label = "site"


def kind(value):
    return {"token": "the token"}.get(value, "a ciphertext" if value.startswith("gAAAA") else "something else")


if sys.argv[1] == "make":
    with connection.schema_editor() as editor:
        editor.create_model(Connection)
    Connection.objects.create(first="token", second="token")
row = Connection.objects.get()
print(kind(row.first), kind(row.second), sep=", ")
if sys.argv[1] == "relabel":
    row.label = "a new label"
    row.save()
CODE

cat > probe.py <<'CODE'
import os
import subprocess
import sys

from cryptography.fernet import Fernet

ours, another = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def run(what, key):
    command = [sys.executable, "site_with_tokens.py", what]
    ended = subprocess.run(command, env={**os.environ, "KEY": key}, capture_output=True, text=True)
    return ended.stdout.strip() if ended.returncode == 0 else ended.stderr.strip().splitlines()[-1]


print("Software: django-encrypted-model-fields 0.6.5, django-fernet-encrypted-fields 0.4.0, Django 5.2.19")
print("Expected: a row that the key does not open raises, and comes to no harm")
seen = {
    "made and read": run("make", ours),
    "read with another key": run("read", another),
    "read with the right key again": run("read", ours),
    "with another key again, its label changed": run("relabel", another),
    "read with the right key thereafter": run("read", ours),
    "read with the other key thereafter": run("read", another),
}
for what, values in seen.items():
    print(f"Seen: {what}: {values}")

token, ciphertext = "the token, the token", "a ciphertext, a ciphertext"
as_recorded = list(seen.values()) == [token, ciphertext, token, ciphertext, ciphertext, ciphertext]
print("As recorded." if as_recorded else "CHANGED: no longer as recorded.")
sys.exit(not as_recorded)
CODE
env/bin/python probe.py
