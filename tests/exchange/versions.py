"""What an older schema does not have: a request that uses it anyway is refused, as Exchange refuses it."""

from __future__ import annotations

from typing import Final

from tests.exchange.soap import SCHEMA_VERSIONS, Element, Refusal, Version, age, children, local_name

_2007_SP1, _2010, _2010_SP1, _2010_SP2, _2013 = SCHEMA_VERSIONS[1:6]

FIELDS: Final = {
    **dict.fromkeys(
        ("item:IsAssociated", "item:ConversationId", "item:UniqueBody", "item:WebClientReadFormQueryString",
         "item:WebClientEditFormQueryString"),
        _2010,
    ),
    **dict.fromkeys(("item:StoreEntryId",), _2010_SP2),
    **dict.fromkeys(
        ("item:Flag", "item:InstanceKey", "item:NormalizedBody", "item:EntityExtractionResult", "item:PolicyTag",
         "item:ArchiveTag", "item:RetentionDate", "item:Preview", "item:TextBody", "item:IconIndex",
         "item:NextPredictedAction", "item:GroupingAction", "item:BlockStatus", "item:HasBlockedImages",
         "item:IsClutter", "folder:DistinguishedFolderId", "folder:PolicyTag", "folder:ArchiveTag"),
        _2013,
    ),
}  # fmt: skip
"""``FieldURI`` values -> the first schema that has them."""

DISTINGUISHED: Final = {
    **dict.fromkeys(
        ("recoverableitemsroot", "recoverableitemsdeletions", "recoverableitemsversions", "recoverableitemspurges",
         "archiveroot", "archivemsgfolderroot", "archivedeleteditems", "archiverecoverableitemsroot",
         "archiverecoverableitemsdeletions", "archiverecoverableitemsversions", "archiverecoverableitemspurges"),
        _2010_SP1,
    ),
    **dict.fromkeys(
        ("syncissues", "conflicts", "localfailures", "serverfailures", "recipientcache", "quickcontacts",
         "conversationhistory", "adminauditlogs", "todosearch", "mycontacts", "directory", "imcontactlist",
         "peopleconnect", "favorites"),
        _2013,
    ),
}  # fmt: skip
"""``DistinguishedFolderId/@Id`` values -> the first schema that has them."""

ELEMENTS: Final = {
    "IndexedPageFolderView": _2010,
    "FractionalPageFolderView": _2010,
    "SyncScope": _2010,
    "QueryString": _2010,
    "FilterHtmlContent": _2010,
    "ConvertHtmlCodePageToUTF8": _2010,
    "UniqueBodyType": _2013,
    "NormalizedBodyType": _2013,
    "MaximumBodySize": _2013,
    "GetServerTimeZones": _2010,
    "TimeZoneContext": _2010,
    "DateTimePrecision": _2010_SP2,
    "ConvertId": _2007_SP1,
}
"""Elements of requests -> the first schema that has them."""


def require_known(server: Version, version: str) -> None:
    """Refuse a schema that is newer than the server."""
    if age(version) > age(server.name):
        raise Refusal("ErrorInvalidServerVersion", "The specified server version is invalid.")


def require_schema(node: Element, version: str) -> None:
    """Refuse whatever beneath an element the schema of this version does not have."""
    for one in (node, *(below for child in children(node) for below in child.iter())):
        if not isinstance(one.tag, str):
            continue
        name = local_name(one)
        _require(ELEMENTS.get(name), version, f"The element '{name}' is invalid")
        if name == "FieldURI":
            value = one.get("FieldURI", "")
            _require(FIELDS.get(value), version, f"The 'FieldURI' attribute is invalid - The value '{value}'")
        elif name == "DistinguishedFolderId":
            value = one.get("Id", "")
            _require(
                DISTINGUISHED.get(value), version, f"The 'Id' attribute is invalid - The value '{value}'"
            )


def _require(since: str | None, version: str, violation: str) -> None:
    if since is not None and age(since) > age(version):
        raise schema_violation(f"{violation} is invalid according to its datatype in {version}.")


def schema_violation(violation: str) -> Refusal:
    """Return the fault upon a request that the schema does not allow."""
    values = {"LineNumber": "1", "LinePosition": "1", "Violation": violation}
    return Refusal("ErrorSchemaValidation", f"The request failed schema validation: {violation}", values)
