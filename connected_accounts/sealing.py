"""Sealing: what is stored encrypted, and the field that holds it.

A sealed text is ``v1.<key id>.<Fernet token>``. The key id is readable without opening. Inside, the
text is bound to a purpose and to one row, so that a ciphertext copied elsewhere does not open. A
token's is told by whose it is and where it may be sent, and not by what could be copied along.

A column holds the same as bytes: a 1, the four bytes of the key id, and the token without its
base64. Dumps and the broker hold the text.
"""

import base64
import binascii
import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any, Final, Protocol, TypeAlias

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db.models import Case, Expression, Value
from django.db.models.functions import Cast

from connected_accounts.exceptions import Undecryptable
from connected_accounts.secret import Sealed, Secret, SecretFields

MAX_SEALED_BYTES: Final = 512 * 1024
HEAD: Final = 5  # bytes of a column that tell its key
TOKEN_PURPOSE: Final = "connected_accounts.token"  # noqa: S105  # a name
CARRIED_PURPOSE: Final = "connected_accounts.carried"
_COLUMN: Final = b"\x01"
# The first byte inside. What was sealed before it was there is JSON, and begins with "[".
_BOUND: Final = b"\x02"
_DIGEST: Final = slice(1, 33)
_AROUND: Final = " \t\r\n\"'"
_JSON: Final = json.JSONEncoder(separators=(",", ":"))  # ``json.dumps`` would make one at each call
_SEALED: Final = r"v1\.([0-9a-f]{8})\.([A-Za-z0-9_=-]{40,})"  # compiled when it is used
# The purpose and row that a sealed text is bound to, and the digest of both.
_Binding: TypeAlias = tuple[str, str, bytes]
_HOW = (
    "Make a key with\n"
    '    python -c "from cryptography.fernet import Fernet; '
    'print(Fernet.generate_key().decode())"\n'
    'and put it into settings: FIELD_ENCRYPTION_KEY = ["<the key>"]. Keep it out of the repository '
    "and back it up apart from the database: without it no stored token can be opened."
)


def encryption_keys() -> tuple[str, ...]:
    """The keys of ``FIELD_ENCRYPTION_KEY``: the first seals, all open. Blanks and quotes around one
    do not count. A key that has some stands twice: what it sealed under its name with them opens.

    Raises ImproperlyConfigured, saying how to make one, when it is missing or malformed.
    """
    configured = getattr(settings, "FIELD_ENCRYPTION_KEY", None)
    if not configured:
        raise ImproperlyConfigured(f"FIELD_ENCRYPTION_KEY is not set. {_HOW}")
    keys = configured if isinstance(configured, list | tuple) else [configured]
    texts = tuple(key.decode("ascii", "replace") if isinstance(key, bytes) else key for key in keys)
    found: list[str] = []
    for position, key in enumerate(texts, start=1):
        plain = _plain_key(key) if isinstance(key, str) else ""
        if not plain:
            raise ImproperlyConfigured(
                f"FIELD_ENCRYPTION_KEY: key {position} is not 32 bytes in URL-safe base64. {_HOW}"
            )
        found += (plain,) if plain == key else (plain, key)
    return tuple(found)


@lru_cache(maxsize=16)
def _plain_key(text: str) -> str:
    """A key in the one form by which it is named, without what files and environments leave around
    it; empty where it is none."""
    try:
        key = base64.b64decode(text.strip(_AROUND), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return ""
    return base64.urlsafe_b64encode(key).decode() if len(key) == 32 else ""


encryption_keys()  # before the library's import, whose own error does not say how to make a key
from encrypted_model_fields.fields import EncryptedTextField  # noqa: E402


def key_id(key: str) -> str:
    """The name of a key: eight hex digits that say nothing about the key itself."""
    return hashlib.sha256(b"connected_accounts.key_id." + key.encode()).hexdigest()[:8]


def head_of(name: str) -> bytes:
    """The bytes that a column sealed with this key begins with."""
    return _COLUMN + bytes.fromhex(name)


def key_id_of(column: Any) -> str | None:
    """The id of the key that a column needs, by what it begins with; None where it is not
    sealed."""
    # SQLite keeps a text, if SQL has written one, in a column of bytes.
    head = b"" if isinstance(column, str) else bytes(column[:HEAD])
    return head[1:].hex() if len(head) == HEAD and head.startswith(_COLUMN) else None


@lru_cache(maxsize=8)
def _ferns(keys: tuple[str, ...]) -> dict[str, Fernet]:
    # Built from the setting on use: the library's own CRYPTER is made once, at import.
    return {key_id(key): Fernet(key) for key in keys}


def seal(plaintext: str, *, purpose: str, bound_to: object) -> Sealed:
    """Encrypt ``plaintext`` so that it opens only for the same purpose and row.

    Raises ValueError when the text is larger than 512 KiB.
    """
    return _seal(plaintext, _bind(purpose, str(bound_to)))


def _bind(purpose: str, row: str) -> _Binding:
    return purpose, row, hashlib.sha256(_listed(purpose, row)).digest()


def _listed(*texts: str) -> bytes:
    """The texts as ``json.dumps`` writes a list of them, which takes several times as long."""
    return f"[{', '.join(map(encode_basestring_ascii, texts))}]".encode()


def _seal(plaintext: str, binding: _Binding) -> Sealed:
    *_, digest = binding
    document = _BOUND + digest + plaintext.encode("utf-8", "surrogatepass")
    if len(document) > MAX_SEALED_BYTES:
        raise ValueError("The text is too large to seal.")
    return _encrypt(document)


def unseal(sealed: Secret | None, *, purpose: str, bound_to: object) -> str:
    """Decrypt a sealed value. Raises Undecryptable; the reason is in its ``code``:
    ``empty``, ``not_sealed``, ``key_missing``, ``tampered`` or ``foreign``."""
    return _unseal(sealed, _bind(purpose, str(bound_to)))


def _unseal(sealed: Secret | None, binding: _Binding) -> str:
    if sealed is None:
        raise Undecryptable("empty")
    return _text_within(_decrypt(sealed), binding)


def _text_within(document: bytes, binding: _Binding) -> str:
    """The text in a decrypted document. Raises Undecryptable where it is bound to another row."""
    purpose, row, digest = binding
    if document[:1] != _BOUND:
        return _unseal_json(document, purpose, row)
    if document[_DIGEST] != digest:
        raise Undecryptable("foreign")
    return document[_DIGEST.stop :].decode("utf-8", "surrogatepass")


def _unseal_json(document: bytes, purpose: str, row: str) -> str:
    """Text that was sealed as JSON, with its purpose and row."""
    try:
        sealed_for, sealed_row, plaintext = json.loads(document)
    except (ValueError, TypeError):
        raise Undecryptable("tampered") from None
    if (sealed_for, sealed_row) != (purpose, row):
        raise Undecryptable("foreign")
    return str(plaintext)


def reseal(sealed: Secret) -> Sealed:
    """The same value for the same row and purpose, sealed with today's first key.

    Raises Undecryptable (``not_sealed``, ``key_missing``, ``tampered``).
    """
    return _encrypt(_decrypt(sealed))


def is_sealed(value: Secret | None) -> bool:
    """Whether a loaded value has the form of sealed text, so that it may be copied unopened."""
    return _parts(value) is not None


def _parts(value: Secret | None) -> re.Match[str] | None:
    try:
        return re.fullmatch(_SEALED, value.reveal()) if isinstance(value, Sealed) else None
    except ValueError:
        return None  # it went through pickle


def _encrypt(document: bytes) -> Sealed:
    name, fernet = next(iter(_ferns(encryption_keys()).items()))
    return Sealed(f"v1.{name}.{fernet.encrypt(document).decode()}")


def _decrypt(sealed: Secret) -> bytes:
    parts = _parts(sealed)
    if parts is None:
        raise Undecryptable("not_sealed")
    return _decrypt_token(parts[1], parts[2].encode())


def _decrypt_token(name: str, token: bytes) -> bytes:
    """Decrypt a Fernet token with the key of this id."""
    fernet = _ferns(encryption_keys()).get(name)
    if fernet is None:
        raise Undecryptable("key_missing")
    try:
        document = fernet.decrypt(token)
    except InvalidToken:
        raise Undecryptable("tampered") from None
    return document


class Holder(Protocol):
    """The facts of a row that its token's seal is bound to. A change of one needs ``rebind``."""

    @property
    def seal_id(self) -> uuid.UUID: ...
    @property
    def owner_key(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def subject_digest(self) -> str: ...
    @property
    def client_id(self) -> str: ...
    @property
    def endpoint_fingerprint(self) -> str: ...


def facts_digest(*facts: object) -> str:
    """The binding of a seal to several facts of a row, in one short text."""
    return hashlib.sha256(_listed(*map(str, facts))).hexdigest()


def _binding(holder: Holder) -> _Binding:
    facts = facts_digest(
        holder.seal_id,
        holder.owner_key,
        holder.provider,
        holder.subject_digest,
        holder.client_id,
        holder.endpoint_fingerprint,
    )
    return _bind(TOKEN_PURPOSE, facts)


def open_document(token: Secret | None, holder: Holder) -> SecretFields:
    """Open the sealed token document of a row. Raises Undecryptable."""
    return _token_document(_unseal(token, _binding(holder)))


def open_column(column: Any, holder: Holder) -> SecretFields:
    """``open_document`` of the bytes of a column, where a token is read at each request. Raises
    Undecryptable."""
    name = None if column is None else key_id_of(column)
    if name is None:
        raise Undecryptable("empty" if column is None else "not_sealed")
    document = _decrypt_token(name, base64.urlsafe_b64encode(column[HEAD:]))
    return _token_document(_text_within(document, _binding(holder)))


def with_what_was_left_out(document: SecretFields) -> SecretFields:
    """A token document with all that an answer may have."""
    names = ("refresh_token", "id_token", "expires_in", "refresh_token_expires_in")
    kind = "DPoP" if document.get("dpop_key") else "Bearer"
    absent = {**dict.fromkeys(names), "redirect_uri": "", "token_type": kind}
    return SecretFields({**absent, **document})


def opens(token: Secret | None, holder: Holder) -> bool:
    """Whether a token opens in the row that it is in."""
    try:
        open_document(token, holder)
    except Undecryptable:
        return False
    return True


def seal_document(document: Mapping[str, Any] | SecretFields, holder: Holder) -> Sealed:
    """Seal a token document for the row that has the facts of ``holder``; what is None in it is
    left out."""
    return _seal(_compact(document), _binding(holder))


def _compact(document: Mapping[str, Any] | SecretFields) -> str:
    """JSON in which the two tokens, which every document has, need no names."""
    rest = {name: value for name, value in dict(document).items() if value is not None}
    tokens = [rest.pop("access_token", None), rest.pop("refresh_token", None)]
    return _JSON.encode([*tokens, rest] if rest else tokens)


def rebind(token: Sealed, before: Holder, after: Holder) -> Sealed:
    """The same document for a row whose facts have changed. Raises Undecryptable."""
    return seal_document(open_document(token, before), after)


def seal_carried(document: Mapping[str, Any] | SecretFields, seal_id: uuid.UUID) -> Sealed:
    """Seal a token document that the broker is to carry, with all that is to be known of it."""
    carried = {**document, "seal_id": str(seal_id)}
    return seal(_compact(carried), purpose=CARRIED_PURPOSE, bound_to="")


def open_carried(token: Secret | None) -> tuple[str, SecretFields]:
    """Open a token document that the broker carried: the ``seal_id`` it is for, and it. The caller
    must know what to think of that. Raises Undecryptable."""
    carried = _token_document(unseal(token, purpose=CARRIED_PURPOSE, bound_to=""))
    document = dict(carried)
    return str(document.pop("seal_id", "")), SecretFields(document)


def _token_document(plaintext: str) -> SecretFields:
    document = json.loads(plaintext)
    if isinstance(document, list):
        access_token, refresh_token, *rest = document
        document = {"access_token": access_token, **(rest[0] if rest else {})}
        document |= {} if refresh_token is None else {"refresh_token": refresh_token}
    if not isinstance(document, dict) or not isinstance(document.get("access_token"), str):
        raise Undecryptable("not_a_token")
    return SecretFields(document)


class SealedTextField(EncryptedTextField):  # type: ignore[misc]  # the library has no types
    """A column of sealed text, kept as bytes. Loads as ``Sealed`` without opening it, and never
    raises.

    Takes a ``Sealed`` or sealed text and nothing else: a plaintext, an expression or a damaged
    value is a TypeError before it reaches the database. No lookup but ``isnull``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("editable", False)
        super().__init__(*args, **kwargs)

    def to_python(self, value: Any) -> Any:
        if value is None or isinstance(value, Sealed):
            return value
        if isinstance(value, str) and not isinstance(value, Secret):
            return Sealed(value)
        raise TypeError(f"{self.name} takes sealed text only.")

    def get_internal_type(self) -> str:
        return "BinaryField"

    def get_placeholder(self, value: Any, compiler: Any, connection: Any) -> Any:
        return connection.ops.binary_placeholder_sql(value)

    def from_db_value(self, value: Any, *args: Any) -> Any:
        return None if value is None else Sealed(_text(value))

    def get_prep_value(self, value: Any) -> Any:
        return self._checked(value)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        text = self._checked(value)
        return None if text is None else connection.Database.Binary(column_bytes(text))

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        if hasattr(value, "as_sql"):
            self.refuse_unless_sealed(value)
            return value
        return self.get_db_prep_value(value, connection)

    def value_to_string(self, obj: Any) -> Any:
        """For ``dumpdata``: the sealed text, which ``loaddata`` takes back."""
        return self._checked(self.value_from_object(obj))

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name != "isnull":
            raise FieldError(f"{self.name} is sealed: it can be tested with isnull only.")
        return super().get_lookup(lookup_name)

    def get_transform(self, lookup_name: str) -> Any:
        raise FieldError(f"{self.name} is sealed: it can be tested with isnull only.")

    def refuse_unless_sealed(self, value: Any) -> None:
        """Raise TypeError for what is not sealed. Of SQL, let through what ``bulk_update`` builds
        from sealed values, and nothing else."""
        if not hasattr(value, "as_sql"):
            self._checked(value)
        elif isinstance(value, Cast):
            self.refuse_unless_sealed(value.get_source_expressions()[0])
        elif isinstance(value, Case):
            results: list[Expression] = [case.result for case in value.cases]
            for result in (*results, value.default):
                self.refuse_unless_sealed(result)
        elif isinstance(value, Value) and (
            value.value is None
            or isinstance(getattr(value, "_output_field_or_none", None), SealedTextField)
        ):
            self._checked(value.value)
        else:
            raise TypeError(f"{self.name} is sealed: it cannot be computed by the database.")

    def _checked(self, value: Any) -> str | None:
        if value is None:
            return None
        text = value.reveal() if isinstance(value, Sealed) else value
        if isinstance(text, Secret) or not isinstance(text, str) or not re.fullmatch(_SEALED, text):
            raise TypeError(f"{self.name} takes sealed text only; use seal() first.")
        return text


def column_bytes(text: str) -> bytes:
    """The bytes that a column holds for a sealed text. Raises TypeError where that is none."""
    _, name, token = text.split(".")
    try:
        return head_of(name) + base64.urlsafe_b64decode(token)
    except ValueError:
        raise TypeError("The text is not sealed; use seal() first.") from None


def _text(column: Any) -> str:
    """The sealed text of a column's bytes; of any others, a text that is not sealed."""
    name = key_id_of(column)
    return f"v1.{name}.{base64.urlsafe_b64encode(column[HEAD:]).decode()}" if name else ""
