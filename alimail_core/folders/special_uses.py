"""What a folder is for when nobody says so: the names that servers and clients give special-use folders.

RFC 6154 attributes come first. These names are the second choice: the folders that Alibaba Mail, Coremail, QQ,
NetEase, Exchange and Outlook, Gmail, Yahoo, Thunderbird, Apple Mail, Roundcube, Zimbra and others make, in the
languages they make them in. Within a use the more usual name stands first. There are no names for ``\\All``,
``\\Flagged`` and ``\\Important``: a folder that its user called "Important" is not the server's view.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from alimail_core.model import INBOX, Folder, FolderPath, SpecialUse

_NAMES: dict[SpecialUse, tuple[str, ...]] = {
    SpecialUse.SENT: (
        "Sent", "Sent Items", "Sent Messages", "Sent Mail", "Sent Objects", "Sent-Mail", "Sent_Mail", "SentMail",
        "已发送", "已发送邮件", "已发邮件", "已发送的邮件", "已发信件", "寄件備份", "寄件备份",
        "已傳送的郵件", "已傳送郵件", "已傳送", "已寄出的郵件", "送信済み", "送信済みアイテム",
        "送信済みトレイ", "送信済みメール", "送信済メール", "보낸 편지함", "보낸편지함", "보낸메일함", "보낸 메일함",
        "Gesendet", "Gesendete Elemente", "Gesendete Objekte", "Gesendete Nachrichten", "Éléments envoyés",
        "Messages envoyés", "Envoyés", "Objets envoyés", "Courrier envoyé", "Enviados", "Elementos enviados",
        "Mensajes enviados", "Correo enviado", "Itens enviados", "E-mails enviados",
        "Mensagens enviadas", "Correio enviado", "Posta inviata", "Inviati", "Inviata", "Elementi inviati",
        "Отправленные", "Отправленное", "Отправленные письма", "Verzonden", "Verzonden items",
        "Verzonden berichten", "Verzonden e-mail", "Wysłane", "Elementy wysłane", "Wysłane elementy",
        "Gönderilmiş Öğeler", "Gönderilenler", "Gönderilmiş Postalar", "Gönderilmiş", "Thư đã gửi",
        "Mục đã gửi", "Các mục đã gửi", "Đã gửi", "รายการที่ถูกส่ง", "รายการที่ส่ง", "จดหมายที่ส่งแล้ว", "ส่งแล้ว",
        "Item Terkirim", "Terkirim", "Surat Terkirim", "Надіслані", "Надіслані елементи", "Odeslaná pošta",
        "Odeslané", "Odoslané", "Elküldött elemek", "Elküldött", "Elemente trimise", "Trimise", "Skickat",
        "Skickade objekt", "Sendt", "Sendt post", "Sendte elementer", "Lähetetyt", "Απεσταλμένα",
        "العناصر المرسلة", "المرسلة", "البريد المرسل", "פריטים שנשלחו", "נשלח",
    ),
    SpecialUse.DRAFTS: (
        "Drafts", "Draft", "Draft Messages", "草稿", "草稿箱", "草稿夹", "草稿匣", "草稿夾", "下書き", "임시 보관함",
        "임시보관함", "임시 편지함", "Entwürfe", "Entwurf", "Brouillons", "Brouillon", "Borradores", "Borrador",
        "Rascunhos", "Rascunho", "Bozze", "Черновики", "Черновик", "Concepten", "Kopie robocze",
        "Wersje robocze", "Robocze", "Szkice", "Taslaklar", "Taslak", "Thư nháp", "Bản nháp", "Bản thảo", "Nháp",
        "แบบร่าง", "ร่างจดหมาย", "ฉบับร่าง", "จดหมายร่าง", "Draf", "Konsep", "Чернетки", "Koncepty", "Rozepsané",
        "Piszkozatok", "Ciorne", "Utkast", "Kladder", "Luonnokset", "Πρόχειρα", "مسودات", "المسودات", "טיוטות",
    ),
    SpecialUse.JUNK: (
        "Junk", "Spam", "Junk E-mail", "Junk Email", "Junk Mail", "Bulk Mail", "Bulk", "垃圾邮件", "垃圾箱邮件",
        "垃圾信件", "垃圾郵件", "垃圾信件匣", "廣告郵件", "广告邮件", "迷惑メール", "迷惑メール フォルダー", "スパム",
        "정크 메일", "정크메일", "스팸함", "스팸메일함", "스팸편지함", "스팸 메일함", "Junk-E-Mail", "Spamverdacht",
        "Unerwünscht", "Courrier indésirable", "Indésirables", "Pourriel", "Correo no deseado", "No deseado",
        "Lixo Eletrônico", "Lixo Eletrónico", "Posta indesiderata",
        "Indesiderata", "Спам", "Нежелательная почта", "Ongewenste e-mail", "Ongewenst",
        "Wiadomości-śmieci", "Wiadomości śmieci", "Niechciane", "Gereksiz E-posta", "Gereksiz", "Önemsiz E-posta",
        "Önemsiz", "Thư rác", "Email rác", "อีเมลขยะ", "จดหมายขยะ", "สแปม", "Email Sampah", "Небажана пошта",
        "Nevyžádaná pošta", "Nevyžiadaná pošta", "Levélszemét", "Mesaje nedorite", "Skräppost", "Søppelpost",
        "Uønsket e-mail", "Uønsket mail", "Roskaposti", "Ανεπιθύμητη αλληλογραφία", "البريد غير الهام",
        "البريد العشوائي", "דואר זבל", "דואר זבל אלקטרוני",
    ),
    SpecialUse.TRASH: (
        "Trash", "Deleted Items", "Deleted Messages", "Deleted", "Bin", "Wastebasket", "已删除邮件", "已删除",
        "已删除的邮件", "已删除信件", "回收站", "废件箱", "垃圾桶", "垃圾箱", "刪除的郵件", "已刪除的郵件",
        "已刪除郵件", "已刪除",
        "回收筒", "資源回收筒", "ゴミ箱", "ごみ箱", "削除済みアイテム", "削除済み", "지운 편지함",
        "지운편지함", "휴지통", "삭제된 항목", "Papierkorb",
        "Gelöscht", "Gelöschte Elemente", "Gelöschte Objekte", "Corbeille",
        "Éléments supprimés", "Messages supprimés", "Supprimés", "Papelera", "Papelera de reciclaje",
        "Elementos eliminados", "Eliminados", "Lixeira", "Lixo", "Itens excluídos", "Itens eliminados", "Excluídos",
        "Cestino", "Posta eliminata", "Eliminati", "Elementi eliminati", "Удаленные", "Удалённые", "Корзина",
        "Prullenbak", "Verwijderde items", "Verwijderd", "Verwijderde berichten", "Kosz", "Elementy usunięte",
        "Usunięte", "Çöp", "Çöp Kutusu", "Silinmiş Öğeler", "Silinenler", "Thùng rác", "Mục đã xóa", "Mục Đã xoá",
        "Đã xóa", "Thư đã xóa", "ถังขยะ", "รายการที่ถูกลบ", "รายการที่ลบ", "Sampah", "Item Terhapus", "Видалені",
        "Кошик", "Koš", "Odstraněná pošta", "Odstránené", "Kuka", "Törölt elemek", "Elemente șterse", "Coș de gunoi",
        "Papperskorg", "Papperskorgen", "Borttaget", "Papirkurv", "Slettet post", "Slettede elementer", "Roskakori",
        "Poistetut", "Κάδος απορριμμάτων", "Διαγραμμένα", "العناصر المحذوفة", "المهملات", "פריטים שנמחקו", "אשפה",
    ),
    SpecialUse.ARCHIVE: (
        "Archive", "Archives", "归档", "存档", "封存", "典藏", "封存郵件", "アーカイブ", "보관함", "보관", "Archiv",
        "Archivieren", "Archivo", "Arquivo", "Arquivo Morto", "Archivio",
        "Архив", "Archief", "Archiwum", "Arşiv", "Lưu trữ", "เก็บถาวร", "ที่เก็บถาวร", "Arsip", "Архів", "Archív",
        "Arhivă", "Arkiv", "Arkisto", "Αρχείο", "أرشيف", "ארכיון",
    ),
}  # fmt: skip


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


_BY_NAME = {
    _plain(name): (use, rank)
    for use, names in _NAMES.items()
    for rank, name in reversed(list(enumerate(names)))
}


def special_use_of(folder: Folder) -> SpecialUse | None:
    """Tell what one folder is for: by its attribute (RFC 6154), else by its name where the name may count.

    A name counts at the top, directly under INBOX, and in a container such as ``[Gmail]``; never for the inbox
    and never for a container itself.
    """
    return _use_and_rank(folder)[0]


def special_uses(folders: Iterable[Folder]) -> dict[SpecialUse, FolderPath]:
    """Choose the one folder of a side for each use; the order of ``folders`` does not matter.

    A folder with the attribute goes before all that merely have a name, the outer before the inner, the more
    usual name before the rarer.
    """
    best: dict[SpecialUse, tuple[bool, int, int, FolderPath]] = {}
    for folder in folders:
        use, rank = _use_and_rank(folder)
        if use is not None:
            mark = (folder.special_use is None, len(folder.path), rank, folder.path)
            best[use] = min(best.get(use, mark), mark)
    return {use: mark[-1] for use, mark in best.items()}


def _use_and_rank(folder: Folder) -> tuple[SpecialUse | None, int]:
    if not folder.selectable or folder.path == INBOX:
        return None, 0
    if folder.special_use is not None:
        return folder.special_use, 0
    if folder.path and _name_counts_in(folder.path[:-1]):
        return _by_name(folder.path[-1])
    return None, 0


@lru_cache(maxsize=1_000)
def _by_name(name: str) -> tuple[SpecialUse | None, int]:
    """Look a name up; those of thousands of accounts are much alike."""
    return _BY_NAME.get(_plain(name), (None, 0))


def _name_counts_in(parent: FolderPath) -> bool:
    return parent in ((), INBOX) or (
        len(parent) == 1 and parent[0].startswith("[") and parent[0].endswith("]")
    )
