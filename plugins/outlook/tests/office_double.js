// Stands in for Office.js, of which the pane uses these names: https://learn.microsoft.com/javascript/api/outlook
// What is to be played stands in `globalThis.PLAYED`; what the pane did is noted in `globalThis.DONE`.

/** @typedef {{displayName: string, emailAddress: string}} EmailUser */
/** @typedef {{status: "succeeded"} | {status: "failed", error: {message: string}}} AsyncResult */
/**
 * @typedef {object} Played
 * @property {"compose" | "read" | null} mode null: the page was opened outside of Outlook
 * @property {string} language Outlook's own, such as "zh-CN"
 * @property {string} [ground] the theme's colour, such as "#1f1f1f"
 * @property {string} [failure] what Outlook says instead of adding
 */

globalThis.DONE = { added: [], written: [] };

globalThis.Office = (() => {
  /** @type {Played} */
  const played = globalThis.PLAYED;

  /** @param {"to" | "cc" | "bcc"} field */
  const recipients = (field) => ({
    /** @param {EmailUser[]} people @param {(result: AsyncResult) => void} callback */
    addAsync(people, callback) {
      if (people.length > 100) throw new TypeError("more than 100 recipients at once");
      if (played.failure) {
        setTimeout(() => callback({ status: "failed", error: { message: played.failure } }));
        return;
      }
      globalThis.DONE.added.push([field, people]);
      setTimeout(() => callback({ status: "succeeded" }));
    },
  });

  // Where a message is read, its recipients are plain lists.
  const items = {
    compose: { to: recipients("to"), cc: recipients("cc"), bcc: recipients("bcc") },
    read: { to: [], cc: [] },
  };

  return {
    AsyncResultStatus: { Succeeded: "succeeded", Failed: "failed" },
    onReady: async () => ({ host: played.mode ? "Outlook" : null, platform: played.mode ? "OfficeOnline" : null }),
    context: {
      displayLanguage: played.language,
      officeTheme: played.ground ? { bodyBackgroundColor: played.ground } : undefined,
      requirements: {
        /** @param {string} name @param {string} version */
        isSetSupported: (name, version) => name === "Mailbox" && Number(version.split(".")[1]) <= 13,
      },
      mailbox: played.mode && {
        item: items[played.mode],
        userProfile: { emailAddress: "anna@new.example" },
        /** @param {{toRecipients: string[]}} form */
        displayNewMessageForm(form) {
          if (played.mode !== "read") throw new TypeError("only where a message is read");
          globalThis.DONE.written.push(form);
        },
      },
    },
  };
})();
